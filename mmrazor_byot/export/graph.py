"""The stages of a network and an exit policy as one ONNX graph that stops by itself.

Level k runs a section and its exit head on the samples that are left and writes their answers over
the earlier ones (ScatterND). Unless all are certain enough, an ``If`` goes on with the others
(NonZero, GatherND) to level k + 1, which is inside it. The weights of a stage belong to its
subgraph: only there are they constants to ONNX Runtime's optimizer. Small networks spend much of
their time between the convolutions, so a sample that stops runs as few operators as possible.
"""

import itertools
from typing import Dict, Optional, Sequence, Tuple

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.helper import make_model, make_opsetid, make_tensor_value_info

from mmrazor_byot.early_exit import ExitPolicy

from .nodes import Graph
from .policy_nodes import PolicyNodes
from .stages import OPSET, ExportedStage

#: The oldest that opset 18 allows; onnxruntime 1.17 loads it.
IR_VERSION = 8

#: Names of values in the graph, by what they are.
Values = Dict[str, str]


def early_exit_graph(
    stages: Sequence[ExportedStage], policy: ExitPolicy, all_scores: bool = False
) -> ModelProto:
    """Compose the graph, and check it.

    Args:
        stages (Sequence[ExportedStage]): One for each of the :func:`used_exits`.
        policy (ExitPolicy): When a sample stops; its thresholds are an input of the graph.
        all_scores (bool): Also give the scores of every exit. Defaults to False.

    Returns:
        ModelProto: Takes ``image`` (N, H, W, 3) uint8 RGB and, if the policy has them,
        ``thresholds`` (E - 1,) for its E exits; gives ``scores`` (N, K), ``exits`` (N,) int64 and,
        if asked for, ``exit_scores`` (N, C, K).
    """
    first, count = stages[0], len(stages) - 1
    composer = _Composer(stages, policy, all_scores)
    graph = Graph(composer.names)
    inputs = [make_tensor_value_info('image', TensorProto.UINT8, ['N', *first.image_size, 3])]
    if count and composer.policy.takes_thresholds:
        inputs.append(make_tensor_value_info('thresholds', TensorProto.FLOAT, [count]))
        parts = [f'threshold_{k}' for k in range(count)]
        graph.add('Split', 'thresholds', outputs=parts, axis=0, num_outputs=count)
    found = composer.add_level(graph, 0, dict(image='image'), None, {})
    shapes = dict(
        scores=['N', first.num_classes],
        exits=['N'],
        exit_scores=['N', first.num_exits, first.num_classes],
    )
    for name in found:
        graph.add('Identity', found[name], outputs=[name])
    outputs = [make_tensor_value_info(n, _kind(n), shapes[n]) for n in shapes if n in found]
    model = make_model(
        graph.proto('early_exit', inputs, outputs),
        opset_imports=[make_opsetid('', OPSET)],
        ir_version=IR_VERSION,
        producer_name='mmrazor_byot',
    )
    onnx.checker.check_model(model)
    return model


class _Composer:
    """Builds the graph, level by level.

    Of the samples that reached a level, (M, ...), ``carried`` holds by name the state of the stages
    and what the policy remembers. ``index`` (M, 1) are their places in the batch, or None as long
    as it is all of them. ``whole`` holds of the whole batch ``answers`` (N, K + 1), scores and then
    the exit; and ``exit_scores`` (N, C, K), if asked for.
    """

    def __init__(
        self, stages: Sequence[ExportedStage], policy: ExitPolicy, all_scores: bool
    ) -> None:
        self.stages, self.all_scores = stages, all_scores
        self.policy = PolicyNodes(policy, stages[0].num_classes)
        self.names = (f'{i:x}' for i in itertools.count())  # short: there are thousands

    def add_level(
        self, graph: Graph, k: int, carried: Values, index: Optional[str], whole: Values
    ) -> Values:
        """Add exit k of those that are used, and in it all that comes after.

        Returns:
            dict: Of the whole batch ``scores``, ``exits`` and, if asked for, ``exit_scores``. After
            a level that only some samples reach, ``answers`` is in place of the first two.
        """
        stage, last = self.stages[k], k == len(self.stages) - 1
        graph.add_stage(stage, {name: carried[name] for name in stage.inputs})
        remembered = {n: v for n, v in carried.items() if n in PolicyNodes.REMEMBERED}
        carried = {**{name: carried.get(name, name) for name in stage.outputs}, **remembered}
        probabilities = self.policy.probabilities(graph, stage)
        answer = self.policy.answer(graph, k, carried, probabilities)
        if self.all_scores:
            exit_scores = _record(graph, stage, probabilities, index, whole)
            whole = {**whole, 'exit_scores': exit_scores}
        rule = None
        if not last:
            rule = self.policy.stop_rule(graph, k, carried, probabilities, answer)
            if rule is None:
                return self.add_level(graph, k + 1, carried, index, whole)
        if index is not None:
            rows = _with_exit(graph, answer, stage)
            whole = {**whole, 'answers': graph.add('ScatterND', whole['answers'], index, rows)}
        elif last:
            whole = {**whole, **_at_one_exit(graph, answer, stage)}
        return whole if last else self.add_if(graph, k, carried, index, whole, answer, rule)

    def add_if(
        self,
        graph: Graph,
        k: int,
        carried: Values,
        index: Optional[str],
        whole: Values,
        answer: str,
        rule: Tuple[str, str],
    ) -> Values:
        """Add an ``If`` that goes on with the samples that do not stop, if there are any."""
        stop, go, stage = Graph(self.names), Graph(self.names), self.stages[k]
        score, bound = rule
        stays = go.add('Not', go.add('GreaterOrEqual', score, bound))  # NaN goes on, as in torch
        left = go.add('Transpose', go.add('NonZero', stays), perm=[1, 0])
        selected = {name: go.add('GatherND', value, left) for name, value in carried.items()}
        if index is None:  # answers get their column here, so that it costs those that stop nothing
            start = {**whole, 'answers': _with_exit(go, answer, stage)}
            after = self.add_level(go, k + 1, selected, left, start)
            after = {**after, **_take_apart(go, after['answers'], stage)}
            whole = {**whole, **_at_one_exit(stop, answer, stage)}
        else:
            places = go.add('GatherND', index, left)
            after = self.add_level(go, k + 1, selected, places, whole)

        def branch(graph: Graph, word: str, values: Values) -> onnx.GraphProto:
            outputs = [
                make_tensor_value_info(graph.add('Identity', values[name]), _kind(name), None)
                for name in whole
            ]
            return graph.proto(f'{word}_{stage.number}', [], outputs)

        all_stop = graph.add('GreaterOrEqual', graph.add('ReduceMin', score, keepdims=1), bound)
        results = graph.add_many(
            'If',
            len(whole),
            all_stop,
            then_branch=branch(stop, 'stop_at', whole),
            else_branch=branch(go, 'go_on_after', after),
        )
        return dict(zip(whole, results))


def _kind(name: str) -> int:
    return TensorProto.INT64 if name == 'exits' else TensorProto.FLOAT


def _record(
    graph: Graph, stage: ExportedStage, scores: str, index: Optional[str], whole: Values
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


def _with_exit(graph: Graph, answer: str, stage: ExportedStage) -> str:
    """Answers (M, K) with the number of the exit in a last column."""
    number = graph.constant(stage.number, np.float32)
    return graph.add('Pad', answer, graph.constant([0, 0, 0, 1]), number)


def _take_apart(graph: Graph, answers: str, stage: ExportedStage) -> Values:
    """Answers (N, K + 1) as scores and exits."""
    sizes = graph.constant([stage.num_classes, 1])
    scores, exits = graph.add_many('Split', 2, answers, sizes, axis=1)
    flat = graph.add('Reshape', exits, graph.constant([-1]))
    return dict(scores=scores, exits=graph.add('Cast', flat, to=TensorProto.INT64))


def _at_one_exit(graph: Graph, answer: str, stage: ExportedStage) -> Values:
    """Scores and exits of a batch that stops at one exit."""
    count = graph.add('Shape', answer, start=0, end=1)
    number = numpy_helper.from_array(np.array([stage.number]))
    return dict(scores=answer, exits=graph.add('ConstantOfShape', count, value=number))
