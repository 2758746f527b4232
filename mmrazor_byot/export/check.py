"""Does an exported file answer as torch does, and stop where a policy in torch does?"""

import copy
from typing import List, Optional

import numpy as np
import torch
from torch import Tensor

from mmrazor_byot.early_exit import ExitPolicy, RecordedNetwork
from mmrazor_byot.errors import DeployError
from mmrazor_byot.runtime import EarlyExitModel

from .policy_nodes import THRESHOLD_POLICIES, default_thresholds, used_exits

#: How far a score may be from torch's.
TOLERANCE = 1e-4
#: So many images that stop at an exit are also run one by one.
ALONE = 4


def check_file(
    file: EarlyExitModel,
    policy: ExitPolicy,
    images: np.ndarray,
    logits: Tensor,
    tolerance: float = TOLERANCE,
) -> float:
    """Compare an exported file with torch, in one batch and image by image.

    A policy that has thresholds gets others, by which images stop at every exit.

    Args:
        file (EarlyExitModel): The file.
        policy (ExitPolicy): The policy it was exported with.
        images (np.ndarray): (N, H, W, 3) uint8 RGB.
        logits (Tensor): Of every exit, (N, C, K), as they should be.
        tolerance (float): How far a score may be off. Defaults to 1e-4.

    Returns:
        float: The largest difference of a score.

    Raises:
        DeployError: Another exit, or a score that is further off.
    """
    used = used_exits(policy, logits.shape[1])
    if not torch.isfinite(logits[:, [i - 1 for i in used]]).all():
        raise DeployError('the network answers with NaN or infinite numbers; nothing was written')
    thresholds: Optional[List[float]] = None
    if type(policy) in THRESHOLD_POLICIES and len(used) > 1:
        policy = separating_policy(policy, logits)
        thresholds = default_thresholds(policy, logits.shape[1])
    expected = RecordedNetwork(logits).run(policy)
    exits, scores = expected.exits.numpy(), expected.scores.numpy()
    alone = [i for n in np.unique(exits) for i in np.flatnonzero(exits == n)[:ALONE]]
    worst = 0.0
    for part in (slice(None), *(slice(i, i + 1) for i in alone)):
        found = file(images[part], thresholds)
        what = f'a batch of {len(found.exits)}'
        if not np.array_equal(found.exits, exits[part]):
            raise DeployError(
                f'{what}: {np.sum(found.exits != exits[part])} images stop at another exit of the '
                'exported network than in torch; nothing was written'
            )
        difference = float(np.abs(found.scores - scores[part]).max())
        if not difference <= tolerance:
            raise DeployError(
                f'{what}: a score of the exported network is {difference:.3g} from the one in '
                f'torch, more than {tolerance}; nothing was written'
            )
        worst = max(worst, difference)
    return worst


def separating_policy(policy: ExitPolicy, logits: Tensor) -> ExitPolicy:
    """A policy of the same kind by which samples leave at every exit.

    Each threshold is halfway between the scores of two samples, in the widest gap near the place
    that lets equally many leave everywhere, so that rounding changes no exit.

    Args:
        policy (ExitPolicy): One that compares a score with thresholds.
        logits (Tensor): Of every exit, (N, C, K).
    """
    count = logits.shape[1]
    used = used_exits(policy, count)
    # An exit that no sample reaches needs one too, as it is in the graph.
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
        if gaps.sum() == 0:  # these cannot be told apart: all stop here
            thresholds[number - 1] = 0.0 if policy.higher_is_more_confident else 1.0
            break
        place = int(gaps.argmax())
        thresholds[number - 1] = float(order[place : place + 2].mean())
        remaining &= ~separating.should_exit(reached, number)
    return separating
