"""Exit policies as ONNX nodes: what they answer with, and when a sample stops."""

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
)
from mmrazor_byot.errors import ConfigError

from .nodes import Graph
from .stages import ExportedStage

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
    """Numbers of the exits whose heads the policy uses, from 1."""
    last = policy.last(num_exits)
    return [i for i in range(1, last + 1) if i == last or policy.uses_exit(i)]


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


class PolicyNodes:
    """Adds the nodes of a policy to a graph, exit after exit.

    What it remembers of each sample is in ``carried``, by name: ``total``, the sum of the
    probabilities so far; ``label``, the class at the exit before; ``streak``, how many exits in a
    row agreed. ``k`` counts the exits in the graph from 0.
    """

    REMEMBERED = ('total', 'label', 'streak')

    def __init__(self, policy: ExitPolicy, num_classes: int) -> None:
        self.policy, self.num_classes = policy, num_classes
        self.takes_thresholds = type(policy) in THRESHOLD_POLICIES

    def probabilities(self, graph: Graph, stage: ExportedStage) -> str:
        """Calibrated probabilities of an exit, (M, K)."""
        logits = f'logits_{stage.number}'
        if self.policy.temperatures is not None:
            temperature = self.policy.temperatures[stage.number - 1]
            logits = graph.add('Div', logits, graph.constant(temperature, np.float32))
        return graph.add('Softmax', logits, axis=-1)

    def answer(self, graph: Graph, k: int, carried: Dict[str, str], probabilities: str) -> str:
        """The probabilities of this exit or, for the ensemble, of all so far: (M, K)."""
        if not self.policy.ensemble:
            return probabilities
        total = graph.add('Add', carried['total'], probabilities) if k else probabilities
        carried['total'] = total
        return graph.add('Div', total, graph.constant(k + 1, np.float32))

    def stop_rule(
        self, graph: Graph, k: int, carried: Dict[str, str], probabilities: str, answer: str
    ) -> Optional[Tuple[str, str]]:
        """A score of each sample (M,) and the bound from which on it stops; None if none can."""
        if self.takes_thresholds:
            return self._certainty(graph, answer), f'threshold_{k}'
        if not isinstance(self.policy, PatiencePolicy):
            return None
        label = graph.add('ArgMax', probabilities, axis=-1, keepdims=0)
        if k:
            one = graph.constant(1)
            longer = graph.add('Add', carried['streak'], one) if k > 1 else graph.constant(2)
            same = graph.add('Equal', label, carried['label'])
            carried['streak'] = graph.add('Where', same, longer, one)
        carried['label'] = label
        if k + 1 < self.policy.patience:
            return None
        return carried['streak'], graph.constant(self.policy.patience)

    def _certainty(self, graph: Graph, answer: str) -> str:
        """Of an answer (M, K), from 0 to 1: (M,)."""
        if isinstance(self.policy, MarginPolicy):
            two, _ = graph.add_many('TopK', 2, answer, graph.constant([2]), axis=-1)
            return graph.add('MatMul', two, graph.constant([1, -1], np.float32))
        last_axis = graph.constant([-1])
        if isinstance(self.policy, ConfidencePolicy):
            return graph.add('ReduceMax', answer, last_axis, keepdims=0)
        logs = graph.add('Log', graph.add('Max', answer, graph.constant(1e-30, np.float32)))
        negative = graph.add('ReduceSum', graph.add('Mul', answer, logs), last_axis, keepdims=0)
        largest = graph.constant(math.log(self.num_classes), np.float32)
        rest = graph.add('Div', graph.add('Add', negative, largest), largest)
        # Rounding may lead below 0, where a threshold of 0 would not stop a sample.
        return graph.add('Relu', rest)
