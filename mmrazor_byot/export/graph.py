"""The stages of a network and an exit policy as one ONNX graph that stops by itself.

Level i runs section i and its exit head on the samples that are left and writes their answers over
the earlier ones (ScatterND). Unless all are certain enough, an ``If`` goes on with the others
(NonZero, GatherND) to level i + 1, which is inside it. The weights of a stage belong to its
subgraph: only there are they constants to ONNX Runtime's optimizer. Small networks spend much of
their time between the convolutions, so a sample that stops runs as few operators as possible.
"""

import itertools
import math
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_opsetid

from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    EntropyPolicy,
    ExitPolicy,
    FixedExitPolicy,
    MarginPolicy,
    PatiencePolicy,
)
from mmrazor_byot.errors import ConfigError

from .nodes import Graph, tensor_info
from .stages import OPSET, ExportedStage

#: The oldest that opset 18 allows; onnxruntime 1.17 loads it.
IR_VERSION = 8
THRESHOLD_POLICIES = (ConfidencePolicy, MarginPolicy, EntropyPolicy)
TRANSLATED = (*THRESHOLD_POLICIES, PatiencePolicy, FixedExitPolicy)

#: Names of values in the graph, by what they are.
Values = Dict[str, str]


def check_translatable(policy: ExitPolicy) -> None:
    """Refuse a policy that the graph cannot express.

    Raises:
        ConfigError: It is a class of the user's own.
    """
    if type(policy) not in TRANSLATED:
        raise ConfigError(
            f'{policy.name} cannot be exported: a graph can express '
            f'{", ".join(kind.__name__ for kind in TRANSLATED)}; leave --policy out, and decide by '
            'the scores of the exits (--all-scores)'
        )


def used_exits(policy: ExitPolicy, num_exits: int) -> List[int]:
    """Numbers of the exits whose heads the policy reads, from 1."""
    last = policy.last(num_exits)
    return [i for i in range(1, last + 1) if i == last or policy.reads(i)]


def default_thresholds(policy: ExitPolicy, num_exits: int) -> List[float]:
    """The thresholds of a policy as certainties, for each exit in the graph but the last.

    A certainty is from 0 to 1, and higher is more certain: an entropy becomes 1 - entropy. No
    sample stops at an exit whose threshold is 2.
    """
    if type(policy) not in THRESHOLD_POLICIES:
        return []
    given = [policy.threshold(i) for i in used_exits(policy, num_exits)[:-1]]
    if isinstance(policy, EntropyPolicy):
        given = [None if t is None else 1 - t for t in given]
    return [2.0 if t is None else t for t in given]


def early_exit_graph(
    stages: Sequence[ExportedStage], policy: ExitPolicy, all_scores: bool = False
) -> ModelProto:
    """Compose the graph.

    Args:
        stages (Sequence[ExportedStage]): One for each of the :func:`used_exits`.
        policy (ExitPolicy): When a sample stops; its thresholds are an input of the graph.
        all_scores (bool): Also give the scores of every exit. Defaults to False.

    Returns:
        ModelProto: Takes ``image`` (N, H, W, 3) uint8 RGB and, if the policy has them,
        ``thresholds`` (E - 1,) for its E exits; gives ``scores`` (N, K), ``exits`` (N,) int64 and,
        if asked for, ``exit_scores`` (N, C, K).
    """
    return _Composer(stages, policy, all_scores).model()


class _Composer:
    """Builds the graph, level by level.

    Of the samples that reached a level, (M, ...), ``carried`` holds by name the state of the stages
    and what the policy remembers: ``total``, the sum of the probabilities so far; ``label``, the
    class at the exit before; ``streak``, how many exits in a row agreed. ``index`` (M, 1) are their
    places in the batch, or None as long as it is all of them. ``whole`` holds of the whole batch
    ``answers`` (N, K + 1), scores and then the exit; and ``exit_scores`` (N, C, K), if asked for.

    Args:
        stages, policy, all_scores: As of :func:`early_exit_graph`.
    """

    def __init__(
        self, stages: Sequence[ExportedStage], policy: ExitPolicy, all_scores: bool
    ) -> None:
        self.stages, self.policy, self.all_scores = stages, policy, all_scores
        self.by_threshold = type(policy) in THRESHOLD_POLICIES
        self.names = (f'{i:x}' for i in itertools.count())  # short: there are thousands

    def model(self) -> ModelProto:
        """The whole model, checked."""
        first, count = self.stages[0], len(self.stages) - 1
        graph = Graph(self.names)
        inputs = [tensor_info('image', ['N', *first.image_size, 3], TensorProto.UINT8)]
        if count and self.by_threshold:
            inputs.append(tensor_info('thresholds', [count]))
            parts = [f'threshold_{k}' for k in range(count)]
            graph.add('Split', 'thresholds', outputs=parts, axis=0, num_outputs=count)
        outputs = dict(
            scores=tensor_info('scores', ['N', first.num_classes]),
            exits=tensor_info('exits', ['N'], TensorProto.INT64),
            exit_scores=tensor_info('exit_scores', ['N', first.num_exits, first.num_classes]),
        )
        found = self.level(graph, 0, dict(image='image'), None, {})
        for name in found:
            graph.add('Identity', found[name], outputs=[name])
        model = make_model(
            make_graph(
                graph.nodes,
                'early_exit',
                inputs,
                [outputs[n] for n in outputs if n in found],
                graph.constants,
            ),
            opset_imports=[make_opsetid('', OPSET)],
            ir_version=IR_VERSION,
            producer_name='mmrazor_byot',
        )
        onnx.checker.check_model(model)
        return model

    def level(
        self, graph: Graph, k: int, carried: Values, index: Optional[str], whole: Values
    ) -> Values:
        """Add exit k of those that are used, and in it all that comes after.

        Returns:
            dict: Of the whole batch ``scores``, ``exits`` and, if asked for, ``exit_scores``. After
            a level that only some samples reach, ``answers`` is in place of the first two.
        """
        stage, last = self.stages[k], k == len(self.stages) - 1
        graph.add_stage(stage, {name: carried[name] for name in stage.inputs})
        remembered = {n: v for n, v in carried.items() if n in ('total', 'label', 'streak')}
        carried = {**{name: carried.get(name, name) for name in stage.outputs}, **remembered}
        probabilities = self.softmax(graph, stage)
        answer = self.answer(graph, k, carried, probabilities)
        if self.all_scores:
            exit_scores = self.record(graph, stage, probabilities, index, whole)
            whole = {**whole, 'exit_scores': exit_scores}
        number, bound = None, None
        if not last:
            number, bound = self.stops(graph, k, carried, probabilities, answer)
            if number is None:
                return self.level(graph, k + 1, carried, index, whole)
        if index is not None:
            rows = _with_exit(graph, answer, stage)
            whole = {**whole, 'answers': graph.add('ScatterND', whole['answers'], index, rows)}
        elif last:
            return {**_at_one_exit(graph, answer, stage), **whole}
        if last:
            return whole
        return self.go_on(graph, k, carried, index, {**whole, 'answer': answer}, number, bound)

    def softmax(self, graph: Graph, stage: ExportedStage) -> str:
        """Calibrated probabilities of an exit, (M, K)."""
        logits = f'logits_{stage.number}'
        if self.policy.temperatures is not None:
            temperature = self.policy.temperatures[stage.number - 1]
            logits = graph.add('Div', logits, graph.constant(temperature, np.float32))
        return graph.add('Softmax', logits, axis=-1)

    def answer(self, graph: Graph, k: int, carried: Values, probabilities: str) -> str:
        """The probabilities of this exit or, for the ensemble, of all so far: (M, K)."""
        if not self.policy.ensemble:
            return probabilities
        total = graph.add('Add', carried['total'], probabilities) if k else probabilities
        carried['total'] = total
        return graph.add('Div', total, graph.constant(k + 1, np.float32))

    def record(
        self, graph: Graph, stage: ExportedStage, scores: str, index: Optional[str], whole: Values
    ) -> str:
        """Put scores into those of all exits, which are NaN elsewhere: (N, C, K)."""
        before, after = stage.number - 1, stage.num_exits - stage.number
        if 'exit_scores' not in whole:
            one = graph.add('Unsqueeze', scores, graph.constant([1]))
            pads = graph.constant([0, before, 0, 0, after, 0])
            return graph.add('Pad', one, pads, graph.constant(np.nan, np.float32))
        if index is None:
            count = graph.add('Squeeze', graph.add('Shape', scores, start=0, end=1))
            rows = graph.add('Range', graph.constant(0), count, graph.constant(1))
            index = graph.add('Unsqueeze', rows, graph.constant([1]))
        place = graph.add('Pad', index, graph.constant([0, 0, 0, 1]), graph.constant(before))
        return graph.add('ScatterND', whole['exit_scores'], place, scores)

    def stops(
        self, graph: Graph, k: int, carried: Values, probabilities: str, answer: str
    ) -> Tuple[Optional[str], Optional[str]]:
        """A number of each sample (M,), and the bound from which on it stops; None if none can."""
        if self.by_threshold:
            return self.certainty(graph, answer), f'threshold_{k}'
        if not isinstance(self.policy, PatiencePolicy):
            return None, None
        label = graph.add('ArgMax', probabilities, axis=-1, keepdims=0)
        if k:
            one = graph.constant(1)
            longer = graph.add('Add', carried['streak'], one) if k > 1 else graph.constant(2)
            same = graph.add('Equal', label, carried['label'])
            carried['streak'] = graph.add('Where', same, longer, one)
        carried['label'] = label
        if k + 1 < self.policy.patience:
            return None, None
        return carried['streak'], graph.constant(self.policy.patience)

    def certainty(self, graph: Graph, probabilities: str) -> str:
        """Of an answer (M, K), from 0 to 1: (M,)."""
        last_axis = graph.constant([-1])
        if isinstance(self.policy, ConfidencePolicy):
            return graph.add('ReduceMax', probabilities, last_axis, keepdims=0)
        if isinstance(self.policy, MarginPolicy):
            outputs = [next(self.names), next(self.names)]
            two = graph.add('TopK', probabilities, graph.constant([2]), outputs=outputs, axis=-1)
            return graph.add('MatMul', two, graph.constant([1, -1], np.float32))
        logs = graph.add('Log', graph.add('Max', probabilities, graph.constant(1e-30, np.float32)))
        products = graph.add('Mul', probabilities, logs)
        negative = graph.add('ReduceSum', products, last_axis, keepdims=0)
        largest = graph.constant(math.log(self.stages[0].num_classes), np.float32)
        rest = graph.add('Div', graph.add('Add', negative, largest), largest)
        # Rounding may lead below 0, where a threshold of 0 would not stop a sample.
        return graph.add('Relu', rest)

    def go_on(
        self,
        graph: Graph,
        k: int,
        carried: Values,
        index: Optional[str],
        whole: Values,
        number: str,
        bound: str,
    ) -> Values:
        """An ``If``: go on with the samples that do not stop, if there are any."""
        stop, go, stage = Graph(self.names), Graph(self.names), self.stages[k]
        answer = whole.pop('answer')
        stays = go.add('Not', go.add('GreaterOrEqual', number, bound))
        left = go.add('Transpose', go.add('NonZero', stays), perm=[1, 0])
        selected = {name: go.add('GatherND', value, left) for name, value in carried.items()}
        if index is None:  # answers get their column here, so that it costs those that stop nothing
            start = {**whole, 'answers': _with_exit(go, answer, stage)}
            after = self.level(go, k + 1, selected, left, start)
            after.update(_take_apart(go, after.pop('answers'), stage))
            whole = {**whole, **_at_one_exit(stop, answer, stage)}
        else:
            left = go.add('GatherND', index, left)
            after = self.level(go, k + 1, selected, left, whole)
        branches = [
            make_graph(
                branch.nodes,
                f'{word}_{stage.number}',
                [],
                [
                    tensor_info(outputs[name], kind=_KINDS.get(name, TensorProto.FLOAT))
                    for name in whole
                ],
                branch.constants,
            )
            for word, branch, outputs in (
                ('stop_at', stop, {n: stop.add('Identity', v) for n, v in whole.items()}),
                ('go_on_after', go, {n: go.add('Identity', after[n]) for n in whole}),
            )
        ]
        lowest = graph.add('ReduceMin', number, keepdims=1)
        all_stop = graph.add('GreaterOrEqual', lowest, bound)
        found = {name: next(self.names) for name in whole}
        graph.add(
            'If',
            all_stop,
            outputs=list(found.values()),
            then_branch=branches[0],
            else_branch=branches[1],
        )
        return found


_KINDS = dict(exits=TensorProto.INT64)


def _with_exit(graph: Graph, answer: str, stage: ExportedStage) -> str:
    """Answers (M, K) with the number of the exit in a last column."""
    number = graph.constant(stage.number, np.float32)
    return graph.add('Pad', answer, graph.constant([0, 0, 0, 1]), number)


def _take_apart(graph: Graph, answers: str, stage: ExportedStage) -> Values:
    """Answers (N, K + 1) as scores and exits."""
    parts = [next(graph.names), next(graph.names)]
    sizes = graph.constant([stage.num_classes, 1])
    graph.add('Split', answers, sizes, outputs=parts, axis=1)
    flat = graph.add('Reshape', parts[1], graph.constant([-1]))
    return dict(scores=parts[0], exits=graph.add('Cast', flat, to=TensorProto.INT64))


def _at_one_exit(graph: Graph, answer: str, stage: ExportedStage) -> Values:
    """Scores and exits of a batch that stops at one exit."""
    count = graph.add('Shape', answer, start=0, end=1)
    number = numpy_helper.from_array(np.array([stage.number]))
    return dict(scores=answer, exits=graph.add('ConstantOfShape', count, value=number))
