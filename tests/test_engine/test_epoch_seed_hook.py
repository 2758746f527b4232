"""Every epoch and rank has its own random numbers."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler

from mmrazor_byot.engine import EpochSeedHook, seed_worker
from mmrazor_byot.registry import FUNCTIONS


def draw(seed, epoch, rank):
    """What the three generators give in this epoch."""
    runner = SimpleNamespace(seed=seed, epoch=epoch, rank=rank)
    EpochSeedHook().before_train_epoch(runner)
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_all_differ():
    """Three generators, two seeds, four epochs and three ranks."""
    places = [(seed, epoch, rank) for seed in (0, 1) for epoch in range(4) for rank in range(3)]
    for numbers in zip(*[draw(*place) for place in places]):
        assert len(set(numbers)) == 24


@pytest.mark.parametrize('place', [(0, 0, 0), (7, 3, 1), (2**31 - 1, 249, 7)])
def test_a_resumed_run_draws_the_same(place):
    first = draw(*place)
    draw(5, 5, 5)
    random.random(), np.random.rand(9), torch.rand(9)
    assert draw(*place) == first


def test_seed_by_hand():
    """All three follow the first word of NumPy's seed sequence."""
    seed = np.random.SeedSequence([7, 3, 1]).generate_state(1)[0]
    torch_number = torch.rand((), generator=torch.manual_seed(int(seed)))
    assert draw(7, 3, 1) == (
        random.Random(int(seed)).random(),
        np.random.RandomState(seed).rand(),
        torch_number.item(),
    )


def test_sampler_follows_a_resumed_seed():
    """The order is that of a sampler with this seed; one without a seed is left alone."""
    samplers = DefaultSampler(range(100), seed=1), torch.utils.data.SequentialSampler(range(3))
    for sampler in samplers:
        loader = SimpleNamespace(sampler=sampler)
        EpochSeedHook().before_train(SimpleNamespace(seed=5, train_dataloader=loader))
    assert list(samplers[0]) == list(DefaultSampler(range(100), seed=5))
    assert not hasattr(samplers[1], 'seed')


@pytest.mark.parametrize('low', [7, 2**32 - 1])
@pytest.mark.parametrize('high', [0, 1, 3])
def test_worker(low, high):
    """NumPy takes the lower 32 bits of torch's seed."""
    torch.manual_seed(high * 2**32 + low)
    FUNCTIONS.get('mmrazor_byot.seed_worker')(worker_id=1)
    assert np.random.rand() == np.random.RandomState(low).rand()
    assert FUNCTIONS.get('seed_worker') is seed_worker
