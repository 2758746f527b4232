"""The stages of a network and an exit policy as one ONNX graph with early exits.

Level k runs a section and its exit head on the remaining samples and writes their answers over the
earlier ones (ScatterND). Unless all of them stop, an ``If`` selects the others (NonZero, GatherND)
for level k + 1, which is nested in it. The weights of a stage are initializers of its own subgraph:
only there does ONNX Runtime's optimizer take them for constants. Small networks spend much of their
time between the convolutions, so a sample that stops runs as few operators as possible.
"""

import itertools
from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.helper import make_model, make_opsetid, make_tensor_value_info

from mmrazor_byot.early_exit import ExitPolicy

from .nodes import Graph
from .policy_nodes import PolicyNodes
from .stages import OPSET, ExportedStage

#: The oldest for opset 18, which onnxruntime 1.17 loads as well.
IR_VERSION = 8

#: Meaning of a value to its name in the graph.
Values = Dict[str, str]


def early_exit_graph(
    stages: Sequence[ExportedStage], policy: ExitPolicy, all_scores: bool = False
) -> ModelProto:
    """Compose the graph, and check it.

    Args:
        stages (Sequence[ExportedStage]): One for each of the :func:`used_exits`.
        policy (ExitPolicy): When a sample stops; its thresholds become an input of the graph.
        all_scores (bool): Also output the scores of every exit. Defaults to False.

    Returns:
        ModelProto: The inputs are ``image`` (N, H, W, 3) uint8 RGB and, if the policy has
        thresholds, ``thresholds`` (E - 1,) for its E exits. The outputs are ``scores`` (N, K),
        ``exits`` (N,) int64 and, with ``all_scores``, ``exit_scores`` (N, C, K).
    """
    first, count = stages[0], len(stages) - 1
    composer = _Composer(stages, policy, all_scores)
    graph = Graph(composer.names)
    inputs = [make_tensor_value_info('image', TensorProto.UINT8, ['N', *first.image_size, 3])]
    if count and composer.policy.takes_thresholds:
        inputs.append(make_tensor_value_info('thresholds', TensorProto.FLOAT, [count]))
        names = [f'threshold_{k}' for k in range(count)]
        graph.add('Split', 'thresholds', outputs=names, axis=0, num_outputs=count)
    results = composer.add_level(graph, 0, dict(image='image'), None, {})
    shapes: Dict[str, List[Union[str, int]]] = dict(
        scores=['N', first.num_classes],
        exits=['N'],
        exit_scores=['N', first.num_exits, first.num_classes],
    )
    for name, value in results.items():
        graph.add('Identity', value, outputs=[name])
    outputs = [make_tensor_value_info(n, _dtype(n), shapes[n]) for n in shapes if n in results]
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

    ``state`` holds the state of the stages and of the policy for the M samples that reach a level,
    (M, ...). ``index`` (M, 1) are their indices in the batch; None if they are the full batch.
    ``results`` holds values of the full batch: ``answers`` (N, K + 1), scores and exit in one
    tensor, and, with ``all_scores``, ``exit_scores`` (N, C, K).
    """

    def __init__(
        self, stages: Sequence[ExportedStage], policy: ExitPolicy, all_scores: bool
    ) -> None:
        self.stages, self.all_scores = stages, all_scores
        self.policy = PolicyNodes(policy, stages[0].num_classes)
        self.names = (f'{i:x}' for i in itertools.count())  # short: there are thousands

    def add_level(
        self, graph: Graph, k: int, state: Values, index: Optional[str], results: Values
    ) -> Values:
        """Add the k-th exit of the graph and, nested in it, all later ones.

        Returns:
            dict: ``results`` with ``answers`` updated or, if ``index`` is None, replaced by
            ``scores`` and ``exits``.
        """
        stage, last = self.stages[k], k == len(self.stages) - 1
        graph.add_stage(stage, {name: state[name] for name in stage.inputs})
        policy_state = {name: state[name] for name in PolicyNodes.STATE if name in state}
        state = {**{name: state.get(name, name) for name in stage.outputs}, **policy_state}
        probabilities = self.policy.probabilities(graph, stage)
        answer = self.policy.answer(graph, k, state, probabilities)
        if self.all_scores:
            exit_scores = _update_exit_scores(graph, stage, probabilities, index, results)
            results = {**results, 'exit_scores': exit_scores}
        condition = None
        if not last:
            condition = self.policy.stop_condition(graph, k, state, probabilities, answer)
            if condition is None:
                return self.add_level(graph, k + 1, state, index, results)
        if index is not None:
            rows = _append_exit(graph, answer, stage)
            answers = graph.add('ScatterND', results['answers'], index, rows)
            results = {**results, 'answers': answers}
        elif condition is None:
            results = {**results, **_stop_all(graph, answer, stage)}
        if condition is None:
            return results
        return self.add_if(graph, k, state, index, results, answer, condition)

    def add_if(
        self,
        graph: Graph,
        k: int,
        state: Values,
        index: Optional[str],
        results: Values,
        answer: str,
        condition: Tuple[str, str],
    ) -> Values:
        """Add an ``If`` that runs the next level on the samples that do not stop, if any."""
        stop, go_on, stage = Graph(self.names), Graph(self.names), self.stages[k]
        score, bound = condition
        # Not GreaterOrEqual, instead of Less: NaN goes on, as in torch.
        goes_on = go_on.add('Not', go_on.add('GreaterOrEqual', score, bound))
        rest = go_on.add('Transpose', go_on.add('NonZero', goes_on), perm=[1, 0])
        state = {name: go_on.add('GatherND', value, rest) for name, value in state.items()}
        if index is None:  # the exits are appended here, at no cost if all samples stop
            answers = _append_exit(go_on, answer, stage)
            later = self.add_level(go_on, k + 1, state, rest, {**results, 'answers': answers})
            later = {**later, **_split_answers(go_on, later['answers'], stage)}
            results = {**results, **_stop_all(stop, answer, stage)}
        else:
            index = go_on.add('GatherND', index, rest)
            later = self.add_level(go_on, k + 1, state, index, results)

        def branch(graph: Graph, name: str, values: Values) -> onnx.GraphProto:
            outputs = [
                make_tensor_value_info(graph.add('Identity', values[n]), _dtype(n), None)
                for n in results
            ]
            return graph.proto(f'{name}_{stage.number}', [], outputs)

        all_stop = graph.add('GreaterOrEqual', graph.add('ReduceMin', score, keepdims=1), bound)
        outputs = graph.add_many(
            'If',
            len(results),
            all_stop,
            then_branch=branch(stop, 'stop_at', results),
            else_branch=branch(go_on, 'go_on_after', later),
        )
        return dict(zip(results, outputs))


def _dtype(name: str) -> int:
    return TensorProto.INT64 if name == 'exits' else TensorProto.FLOAT


def _update_exit_scores(
    graph: Graph, stage: ExportedStage, scores: str, index: Optional[str], results: Values
) -> str:
    """Write the scores of an exit into ``exit_scores`` (N, C, K), which are NaN at first."""
    before, after = stage.number - 1, stage.num_exits - stage.number
    if 'exit_scores' not in results:
        exit_axis = graph.add('Unsqueeze', scores, graph.constant([1]))
        pads = graph.constant([0, before, 0, 0, after, 0])
        return graph.add('Pad', exit_axis, pads, graph.constant(np.nan, np.float32))
    if index is None:
        count = graph.add('Squeeze', graph.add('Shape', scores, start=0, end=1))
        rows = graph.add('Range', graph.constant(0), count, graph.constant(1))
        index = graph.add('Unsqueeze', rows, graph.constant([1]))
    position = graph.add('Pad', index, graph.constant([0, 0, 0, 1]), graph.constant(before))
    return graph.add('ScatterND', results['exit_scores'], position, scores)


def _append_exit(graph: Graph, answer: str, stage: ExportedStage) -> str:
    """Append the number of the exit to answers (M, K) as a last column."""
    number = graph.constant(stage.number, np.float32)
    return graph.add('Pad', answer, graph.constant([0, 0, 0, 1]), number)


def _split_answers(graph: Graph, answers: str, stage: ExportedStage) -> Values:
    """Split answers (N, K + 1) into scores and exits."""
    sizes = graph.constant([stage.num_classes, 1])
    scores, exits = graph.add_many('Split', 2, answers, sizes, axis=1)
    flat = graph.add('Reshape', exits, graph.constant([-1]))
    return dict(scores=scores, exits=graph.add('Cast', flat, to=TensorProto.INT64))


def _stop_all(graph: Graph, answer: str, stage: ExportedStage) -> Values:
    """Scores and exits of a full batch that stops at one exit."""
    count = graph.add('Shape', answer, start=0, end=1)
    number = numpy_helper.from_array(np.array([stage.number]))
    return dict(scores=answer, exits=graph.add('ConstantOfShape', count, value=number))
