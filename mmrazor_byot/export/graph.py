"""The stages of a network and an exit policy as one ONNX graph that stops by itself.

Level i runs section i and its exit head on the samples that are left and writes their answers
over the earlier ones (ScatterND). Unless all are certain enough, an ``If`` goes on with the others
(NonZero, GatherND) to level i + 1, which is inside it. The weights of a stage belong to its
subgraph: only there are they constants to ONNX Runtime's optimizer. Small networks spend much of
their time between the convolutions, so a sample that stops runs as few operators as possible.
"""

import itertools
import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.policies import (
    ConfidencePolicy,
    EntropyPolicy,
    ExitPolicy,
    FixedExitPolicy,
    MarginPolicy,
    PatiencePolicy,
)

from .stages import OPSET, ExportedStage

#: The oldest that opset 18 allows; onnxruntime 1.17 loads it.
IR_VERSION = 8
THRESHOLD_POLICIES = (ConfidencePolicy, MarginPolicy, EntropyPolicy)
TRANSLATED = (*THRESHOLD_POLICIES, PatiencePolicy, FixedExitPolicy)


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


class _Level(NamedTuple):
    """Names of the values of the samples that reached an exit.

    Attributes:
        state (dict): Name of each input of the stage to its value, (M, ...).
        index (str | None): Places of the samples in the batch (M, 1); None if it is all of them.
        batch (str | None): Answers of the whole batch before this exit, (N, K + 1): scores, then
            the exit.
        answers, exits (str | None): At the end of the level. Answers are as ``batch``; before any
            sample has stopped they are scores (N, K), and exits (N,) their exits.
        exit_scores (str | None): Of the whole batch and all exits, (N, C, K).
        total (str | None): Sum of the probabilities so far (M, K), for the ensemble.
        label (str | None): Class at the exit before (M,), for patience.
        streak (str | None): How many exits in a row agreed (M,), for patience; None: one.
    """

    state: Dict[str, str]
    index: Optional[str] = None
    batch: Optional[str] = None
    answers: Optional[str] = None
    exits: Optional[str] = None
    exit_scores: Optional[str] = None
    total: Optional[str] = None
    label: Optional[str] = None
    streak: Optional[str] = None


class _Graph:
    """Nodes and constants of one graph or branch; names are unique in the whole model.

    Args:
        names (iterator): Gives a new name at each call of next.
    """

    def __init__(self, names) -> None:
        self.names, self.nodes, self.constants = names, [], []

    def add(self, op: str, *inputs: str, output: Optional[str] = None, **attributes) -> str:
        """Add a node of one output; returns its name."""
        output = output or next(self.names)
        self.nodes.append(make_node(op, list(inputs), [output], **attributes))
        return output

    def constant(self, value, dtype=np.int64) -> str:
        """Add a constant; returns its name."""
        name = next(self.names)
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add_stage(self, stage: ExportedStage, state: Dict[str, str]) -> None:
        """Add the nodes and weights of a stage; its outputs keep their names.

        What the exporter wrote beside the computation is left out, which can be more than it.
        """
        graph = stage.model.graph
        renamed = {'': '', **state, **{x.name: x.name for x in graph.output}}

        def short(name: str) -> str:
            if name not in renamed:
                renamed[name] = next(self.names)
            return renamed[name]

        used = {name for node in graph.node for name in node.input}
        for source in graph.initializer:
            if source.name not in used:  # batch norms that are in the convolutions now
                continue
            array = TensorProto()
            array.CopyFrom(source)
            array.ClearField('doc_string')
            array.name = short(source.name)
            self.constants.append(array)
        for source in graph.node:
            node = NodeProto()
            node.CopyFrom(source)
            for field in ('name', 'doc_string', 'metadata_props'):
                node.ClearField(field)
            node.input[:] = map(short, source.input)
            node.output[:] = map(short, source.output)
            self.nodes.append(node)


class _Composer:
    """Builds the graph, level by level.

    Args:
        stages, policy, all_scores: As of :func:`early_exit_graph`.
    """

    def __init__(
        self, stages: Sequence[ExportedStage], policy: ExitPolicy, all_scores: bool
    ) -> None:
        self.stages, self.policy, self.all_scores = stages, policy, all_scores
        self.patience = policy.patience if isinstance(policy, PatiencePolicy) else None
        self.names = (f'v{i}' for i in itertools.count())

    def model(self) -> ModelProto:
        """The whole model, checked."""
        first = self.stages[0]
        graph = _Graph(self.names)
        inputs = [_info('image', ['N', *first.image_size, 3], TensorProto.UINT8)]
        count = len(self.stages) - 1
        if count and type(self.policy) in THRESHOLD_POLICIES:
            inputs.append(_info('thresholds', [count]))
            parts = [self._threshold(k) for k in range(count)]
            if count > 1:
                graph.nodes.append(
                    make_node('Split', ['thresholds'], parts, axis=0, num_outputs=count)
                )
        after = self._level(graph, 0, _Level(dict(image='image')))
        if after.exits is None:  # every sample stops at the last exit
            after = after._replace(exits=_exits(graph, after.answers, self.stages[-1]))
        graph.add('Identity', after.answers, output='scores')
        graph.add('Identity', after.exits, output='exits')
        outputs = [
            _info('scores', ['N', first.num_classes]),
            _info('exits', ['N'], TensorProto.INT64),
        ]
        if self.all_scores:
            graph.add('Identity', after.exit_scores, output='exit_scores')
            outputs.append(_info('exit_scores', ['N', first.num_exits, first.num_classes]))
        whole = make_graph(graph.nodes, 'early_exit', inputs, outputs, graph.constants)
        model = make_model(
            whole,
            opset_imports=[make_opsetid('', OPSET)],
            ir_version=IR_VERSION,
            producer_name='mmrazor_byot',
        )
        onnx.checker.check_model(model)
        return model

    def _level(self, graph: _Graph, k: int, at: _Level) -> _Level:
        """Add exit k of the used ones, and in it all that comes after."""
        stage, last = self.stages[k], k == len(self.stages) - 1
        graph.add_stage(stage, at.state)
        state = {name: at.state.get(name, name) for name in stage.outputs}
        probabilities = self._softmax(graph, stage)
        answer = probabilities
        if self.policy.ensemble:
            if k:
                at = at._replace(total=graph.add('Add', at.total, probabilities))
                answer = graph.add('Div', at.total, graph.constant(k + 1, np.float32))
            else:
                at = at._replace(total=probabilities)
        if self.all_scores:
            at = at._replace(exit_scores=self._record(graph, stage, at, probabilities))
        at = at._replace(state=state)
        if last and at.index is None:
            return at._replace(answers=answer)
        if not last:
            at, value, bound = self._stops(graph, k, at, probabilities, answer)
            if value is None:
                return self._level(graph, k + 1, at)
        at = at._replace(answers=answer)
        if at.index is not None:
            at = at._replace(
                answers=graph.add('ScatterND', at.batch, at.index, _rows(graph, answer, stage))
            )
        return at if last else self._if_all_stop(graph, k, at, value, bound)

    def _softmax(self, graph: _Graph, stage: ExportedStage) -> str:
        logits = f'logits_{stage.number}'
        if self.policy.temperatures is not None:
            temperature = self.policy.temperatures[stage.number - 1]
            logits = graph.add('Div', logits, graph.constant(temperature, np.float32))
        return graph.add('Softmax', logits, axis=-1)

    def _record(self, graph: _Graph, stage: ExportedStage, at: _Level, scores: str) -> str:
        """Put scores into those of all exits, which are NaN elsewhere."""
        place, others = stage.number - 1, stage.num_exits - stage.number
        if at.exit_scores is None:
            one = graph.add('Unsqueeze', scores, graph.constant([1]))
            pads = graph.constant([0, place, 0, 0, others, 0])
            return graph.add('Pad', one, pads, graph.constant(np.nan, np.float32))
        index = at.index
        if index is None:
            count = graph.add('Squeeze', graph.add('Shape', scores, start=0, end=1))
            rows = graph.add('Range', graph.constant(0), count, graph.constant(1))
            index = graph.add('Unsqueeze', rows, graph.constant([1]))
        pair = graph.add('Pad', index, graph.constant([0, 0, 0, 1]), graph.constant(place))
        return graph.add('ScatterND', at.exit_scores, pair, scores)

    def _stops(
        self, graph: _Graph, k: int, at: _Level, probabilities: str, answer: str
    ) -> Tuple[_Level, Optional[str], Optional[str]]:
        """A number of each sample, (M,), and the bound from which on it stops.

        None if no sample can stop here.
        """
        if type(self.policy) in THRESHOLD_POLICIES:
            return at, self._certainty(graph, answer), self._threshold(k)
        if self.patience is None:
            return at, None, None
        label = graph.add('ArgMax', probabilities, axis=-1, keepdims=0)
        if at.label is not None:
            one = graph.constant(1)
            longer = graph.add('Add', at.streak, one) if at.streak else graph.constant(2)
            same = graph.add('Equal', label, at.label)
            at = at._replace(streak=graph.add('Where', same, longer, one))
        at = at._replace(label=label)
        if k + 1 < self.patience:
            return at, None, None
        return at, at.streak, graph.constant(self.patience)

    def _certainty(self, graph: _Graph, probabilities: str) -> str:
        """Of an answer (M, K), from 0 to 1: (M,)."""
        last_axis = graph.constant([-1])
        if isinstance(self.policy, ConfidencePolicy):
            return graph.add('ReduceMax', probabilities, last_axis, keepdims=0)
        zero = graph.constant(0, np.float32)
        if isinstance(self.policy, MarginPolicy):
            top, labels = next(self.names), next(self.names)
            two = graph.constant([2])
            graph.nodes.append(make_node('TopK', [probabilities, two], [top, labels], axis=-1))
            signs = graph.constant([1, -1], np.float32)
            return graph.add('MatMul', top, signs)
        tiny = graph.constant(1e-30, np.float32)
        logs = graph.add('Log', graph.add('Max', probabilities, tiny))
        terms = graph.add('Mul', probabilities, logs)
        negative = graph.add('ReduceSum', terms, last_axis, keepdims=0)
        largest = graph.constant(math.log(self.stages[0].num_classes), np.float32)
        share = graph.add('Div', negative, largest)
        # Rounding may lead a little below 0, where a threshold of 0 would not stop a sample.
        return graph.add('Max', graph.add('Add', share, graph.constant(1, np.float32)), zero)

    def _threshold(self, k: int) -> str:
        return 'thresholds' if len(self.stages) == 2 else f'threshold_{k + 1}'

    def _if_all_stop(self, graph: _Graph, k: int, at: _Level, value: str, bound: str) -> _Level:
        """Go on with the samples that do not stop, if there are any."""
        lowest = graph.add('ReduceMin', value, keepdims=1)
        stop, go = _Graph(self.names), _Graph(self.names)
        stays = go.add('Not', go.add('GreaterOrEqual', value, bound))
        left = go.add('Transpose', go.add('NonZero', stays), perm=[1, 0])

        def selected(name: Optional[str]) -> Optional[str]:
            return None if name is None else go.add('GatherND', name, left)

        first = at.index is None
        inner = at._replace(
            state={name: selected(name_now) for name, name_now in at.state.items()},
            index=left if first else selected(at.index),
            batch=_rows(go, at.answers, self.stages[k]) if first else at.answers,
            total=selected(at.total),
            label=selected(at.label),
            streak=selected(at.streak),
        )
        after = self._level(go, k + 1, inner)
        if first:
            after = self._split(go, after)
            at = at._replace(exits=_exits(stop, at.answers, self.stages[k]))
        fields = [name for name in ('answers', 'exits', 'exit_scores') if getattr(at, name)]
        branches = []
        for branch, level in ((stop, at), (go, after)):
            outputs = [
                _info(
                    branch.add('Identity', getattr(level, name)),
                    kind=TensorProto.INT64 if name == 'exits' else TensorProto.FLOAT,
                )
                for name in fields
            ]
            name = f'{"stop_at" if branch is stop else "go_on_after"}_{self.stages[k].number}'
            branches.append(make_graph(branch.nodes, name, [], outputs, branch.constants))
        outputs = [next(self.names) for _ in fields]
        all_stop = graph.add('GreaterOrEqual', lowest, bound)
        graph.nodes.append(
            make_node('If', [all_stop], outputs, then_branch=branches[0], else_branch=branches[1])
        )
        return at._replace(**dict(zip(fields, outputs)))

    def _split(self, graph: _Graph, after: _Level) -> _Level:
        """Take answers (N, K + 1) apart."""
        scores, number = next(self.names), next(self.names)
        sizes = graph.constant([self.stages[0].num_classes, 1])
        graph.nodes.append(make_node('Split', [after.answers, sizes], [scores, number], axis=1))
        flat = graph.add('Reshape', number, graph.constant([-1]))
        exits = graph.add('Cast', flat, to=TensorProto.INT64)
        return after._replace(answers=scores, exits=exits)


def _rows(graph: _Graph, answer: str, stage: ExportedStage) -> str:
    """Answers (M, K) with the number of the exit in a last column."""
    number = graph.constant(stage.number, np.float32)
    return graph.add('Pad', answer, graph.constant([0, 0, 0, 1]), number)


def _exits(graph: _Graph, answer: str, stage: ExportedStage) -> str:
    """The number of one exit for all samples, (N,)."""
    count = graph.add('Shape', answer, start=0, end=1)
    number = numpy_helper.from_array(np.array([stage.number]))
    return graph.add('ConstantOfShape', count, value=number)


def _info(
    name: str, shape: Optional[Sequence] = None, kind: int = TensorProto.FLOAT
) -> ValueInfoProto:
    return make_tensor_value_info(name, kind, shape)
