"""Check that an exported file gives the scores and exits of torch."""

import copy
from typing import List, Optional

import numpy as np
import torch
from torch import Tensor

from mmrazor_byot.early_exit import ExitPolicy, RecordedNetwork, ThresholdPolicy
from mmrazor_byot.errors import DeployError
from mmrazor_byot.evaluation.finite import check_logits
from mmrazor_byot.runtime import EarlyExitModel

from .policy_nodes import default_thresholds, used_exits

#: Largest allowed difference of a score from torch's.
TOLERANCE = 1e-4
#: Number of images per exit that are also run one by one.
SINGLE_IMAGES = 4


def check_file(
    file: EarlyExitModel,
    policy: ExitPolicy,
    images: np.ndarray,
    logits: Tensor,
    tolerance: float = TOLERANCE,
) -> float:
    """Compare an exported file with torch, in one batch and image by image.

    If the policy has thresholds, these are replaced, so that images stop at every exit.

    Args:
        file (EarlyExitModel): The file.
        policy (ExitPolicy): The policy it was exported with.
        images (np.ndarray): (N, H, W, 3) uint8 RGB.
        logits (Tensor): Expected logits of every exit, (N, C, K).
        tolerance (float): Largest allowed difference of a score. Defaults to 1e-4.

    Returns:
        float: The largest difference of a score.

    Raises:
        NonFiniteOutputError: An exit answers with NaN.
        DeployError: An image stops at another exit, or a score differs by more than ``tolerance``.
    """
    used = used_exits(policy, logits.shape[1])
    check_logits(logits[:, [i - 1 for i in used]], used)
    thresholds: Optional[List[float]] = None
    if isinstance(policy, ThresholdPolicy) and len(used) > 1:
        policy = separating_policy(policy, logits)
        thresholds = default_thresholds(policy, logits.shape[1])
    expected = RecordedNetwork(logits).run(policy)
    exits, scores = expected.exits.numpy(), expected.scores.numpy()
    single = [i for n in np.unique(exits) for i in np.flatnonzero(exits == n)[:SINGLE_IMAGES]]
    largest = 0.0
    for batch in (slice(None), *(slice(i, i + 1) for i in single)):
        result = file(images[batch], thresholds)
        what = f'a batch of {len(result.exits)}'
        if not np.array_equal(result.exits, exits[batch]):
            raise DeployError(
                f'{what}: {np.sum(result.exits != exits[batch])} images stop at another exit of '
                'the exported network than in torch; nothing was written'
            )
        difference = float(np.abs(result.scores - scores[batch]).max())
        if not difference <= tolerance:
            raise DeployError(
                f'{what}: a score of the exported network differs by {difference:.3g} from '
                f'torch, more than {tolerance}; nothing was written'
            )
        largest = max(largest, difference)
    return largest


def separating_policy(policy: ThresholdPolicy, logits: Tensor) -> ThresholdPolicy:
    """A policy of the same type with thresholds at which samples stop at every exit.

    About as many samples stop at each exit. A threshold is the middle of the widest gap between two
    scores near the quantile that this needs, so that rounding changes no exit. ``logits`` are those
    of every exit, (N, C, K).
    """
    count = logits.shape[1]
    used = used_exits(policy, count)
    # An exit that no sample reaches is in the graph, and needs a threshold as well.
    thresholds: List[Optional[float]] = [0.5 if i in used else None for i in range(1, count)]
    separating = copy.copy(policy)
    separating.thresholds = thresholds
    reached, remaining = [], torch.ones(len(logits), dtype=torch.bool)
    for k, number in enumerate(used[:-1]):
        reached.append(policy.probabilities(logits[:, number - 1], number))
        scores = policy.score(policy.answer(reached))[remaining].double()
        order = scores.sort(descending=policy.higher_is_more_confident).values
        middle, slack = len(order) // (len(used) - k), len(order) // 8
        order = order[max(middle - 1 - slack, 0) : middle + slack + 1]
        gaps = order.diff().abs()
        if gaps.sum() == 0:  # equal scores: all samples stop here
            thresholds[number - 1] = 0.0 if policy.higher_is_more_confident else 1.0
            break
        widest = int(gaps.argmax())
        thresholds[number - 1] = float(order[widest : widest + 2].mean())
        remaining &= ~separating.should_exit(reached, number)
    return separating
