"""Seeds each epoch, so that a resumed run draws the same random numbers."""

import random

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrazor_byot.registry import FUNCTIONS, HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds Python, NumPy and torch at the start of each training epoch.

    The seed depends on the runner's seed, the epoch and the rank, so a run that is stopped and
    resumed draws the same numbers as an uninterrupted one. Data loader workers are seeded too if
    the loader has ``worker_init_fn=dict(type='mmrazor_byot.seed_worker')`` and
    ``persistent_workers=False``.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Set the sampler's seed, as the runner's may come from a checkpoint."""
        sampler = getattr(runner.train_dataloader, 'sampler', None)
        if sampler is not None and hasattr(sampler, 'seed'):
            sampler.seed = runner.seed

    def before_train_epoch(self, runner: Runner) -> None:
        sequence = np.random.SeedSequence([runner.seed, runner.epoch, runner.rank])
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Seed NumPy in a data loader worker with a new seed each epoch.

    MMEngine's default gives a worker the same seed in every epoch. torch draws a new seed per epoch
    and has already seeded ``random`` and itself with it.
    """
    np.random.seed(torch.initial_seed() % 2**32)
