"""Exit policies as ONNX nodes: their predictions, and when a sample stops."""

import math
from typing import Dict, List, Optional, Tuple

import numpy as np

from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    EntropyPolicy,
    ExitPolicy,
    FixedExitPolicy,
    MarginPolicy,
    PatiencePolicy,
    ThresholdPolicy,
)
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.runtime.model import NEVER

from .nodes import Graph
from .stages import ExportedStage

SUPPORTED_POLICIES = (
    ConfidencePolicy,
    MarginPolicy,
    EntropyPolicy,
    PatiencePolicy,
    FixedExitPolicy,
)


def check_supported(policy: ExitPolicy) -> None:
    """Check that a policy can be exported.

    Raises:
        ConfigError: The policy is of a user-defined class.
    """
    if type(policy) not in SUPPORTED_POLICIES:
        raise ConfigError(
            f'{policy.name} cannot be exported, only '
            f'{", ".join(cls.__name__ for cls in SUPPORTED_POLICIES)}; leave --policy out, and '
            'decide by the scores of the exits (--all-scores)'
        )


def used_exits(policy: ExitPolicy, num_exits: int) -> List[int]:
    """Numbers of the exits whose heads the policy uses, from 1."""
    last = policy.last(num_exits)
    return [i for i in range(1, last + 1) if i == last or policy.uses_exit(i)]


def default_thresholds(policy: ExitPolicy, num_exits: int) -> List[float]:
    """The thresholds of a policy as confidences, for each exit in the graph but the last.

    A confidence is from 0 to 1; an entropy becomes 1 - entropy. None becomes :data:`NEVER`.
    """
    if not isinstance(policy, ThresholdPolicy):
        return []
    thresholds = [policy.threshold(i) for i in used_exits(policy, num_exits)[:-1]]
    if isinstance(policy, EntropyPolicy):
        thresholds = [None if t is None else 1 - t for t in thresholds]
    return [NEVER if t is None else t for t in thresholds]


class PolicyNodes:
    """Adds the nodes of a policy to a graph, exit after exit.

    The state of a policy is kept in ``state`` by name, one value per sample: ``total``, the sum of
    the probabilities so far; ``label``, the class at the exit before; ``streak``, the number of
    exits in a row that agree. ``k`` counts the exits in the graph from 0.
    """

    STATE = ('total', 'label', 'streak')

    def __init__(self, policy: ExitPolicy, num_classes: int) -> None:
        self.policy, self.num_classes = policy, num_classes
        self.takes_thresholds = isinstance(policy, ThresholdPolicy)

    def probabilities(self, graph: Graph, stage: ExportedStage) -> str:
        """Calibrated probabilities of an exit, (M, K)."""
        logits = f'logits_{stage.number}'
        if self.policy.temperatures is not None:
            temperature = self.policy.temperatures[stage.number - 1]
            logits = graph.add('Div', logits, graph.constant(temperature, np.float32))
        return graph.add('Softmax', logits, axis=-1)

    def answer(self, graph: Graph, k: int, state: Dict[str, str], probabilities: str) -> str:
        """The probabilities of this exit or, for the ensemble, the mean of all so far: (M, K)."""
        if not self.policy.ensemble:
            return probabilities
        total = graph.add('Add', state['total'], probabilities) if k else probabilities
        state['total'] = total
        return graph.add('Div', total, graph.constant(k + 1, np.float32))

    def stop_condition(
        self, graph: Graph, k: int, state: Dict[str, str], probabilities: str, answer: str
    ) -> Optional[Tuple[str, str]]:
        """A score (M,) and the bound at which a sample stops; None if none stops at this exit."""
        if self.takes_thresholds:
            return self._confidence(graph, answer), f'threshold_{k}'
        if not isinstance(self.policy, PatiencePolicy):
            return None
        label = graph.add('ArgMax', probabilities, axis=-1, keepdims=0)
        if k:
            one = graph.constant(1)
            longer = graph.add('Add', state['streak'], one) if k > 1 else graph.constant(2)
            same = graph.add('Equal', label, state['label'])
            state['streak'] = graph.add('Where', same, longer, one)
        state['label'] = label
        if k + 1 < self.policy.patience:
            return None
        return state['streak'], graph.constant(self.policy.patience)

    def _confidence(self, graph: Graph, answer: str) -> str:
        """Certainty (M,) from 0 to 1 of an answer (M, K)."""
        if isinstance(self.policy, MarginPolicy):
            two, _ = graph.add_many('TopK', 2, answer, graph.constant([2]), axis=-1)
            return graph.add('MatMul', two, graph.constant([1, -1], np.float32))
        last_axis = graph.constant([-1])
        if isinstance(self.policy, ConfidencePolicy):
            return graph.add('ReduceMax', answer, last_axis, keepdims=0)
        logs = graph.add('Log', graph.add('Max', answer, graph.constant(1e-30, np.float32)))
        negative = graph.add('ReduceSum', graph.add('Mul', answer, logs), last_axis, keepdims=0)
        largest = graph.constant(math.log(self.num_classes), np.float32)
        confidence = graph.add('Div', graph.add('Add', negative, largest), largest)
        # A value rounded to below 0 would not stop at a threshold of 0.
        return graph.add('Relu', confidence)
