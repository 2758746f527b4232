"""Every epoch its own random numbers, the same after a resume."""

import random

import numpy as np
import torch
from mmengine.hooks import Hook

from mmrazor_byot.registry import FUNCTIONS, HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds Python, NumPy and torch at the start of each training epoch.

    The seed is made of the runner's, the epoch and the rank, so a run that was stopped and resumed
    draws what the unbroken run would have drawn. Data loader workers take part if the loader has
    ``worker_init_fn=dict(type='mmrazor_byot.seed_worker')`` and ``persistent_workers=False``.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        """Let the sampler follow a seed that came from a checkpoint."""
        sampler = getattr(runner.train_dataloader, 'sampler', None)
        if hasattr(sampler, 'seed'):
            sampler.seed = runner.seed

    def before_train_epoch(self, runner) -> None:
        """Seed for this epoch and rank."""
        sequence = np.random.SeedSequence([runner.seed, runner.epoch, runner.rank])
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Seed a data loader worker from its epoch.

    MMEngine's default seeds each worker alike in every epoch. torch's seed of a worker is drawn
    anew each epoch, and has already seeded ``random`` and torch itself; NumPy remains.
    """
    np.random.seed(torch.initial_seed() % 2**32)
