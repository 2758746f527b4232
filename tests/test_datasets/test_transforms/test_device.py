"""Batch transforms on a device: one copy in, and no waiting for it."""

import numpy as np
import pytest
import torch
from augmented import photographs
from mmengine.config import Config
from run import ROOT
from torch.utils._python_dispatch import TorchDispatchMode

from mmrazor_byot.datasets.transforms import transfer
from mmrazor_byot.datasets.transforms.base import take_steps
from mmrazor_byot.registry import TRANSFORMS

AUGMENTS = [
    dict(type='BatchRandomCrop', crop_size=32, padding=4),
    dict(type='BatchRandomFlip', prob=[0.3, 0.3, 0.3],
         direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='BatchAutoAugment', policies='imagenet'),
    dict(type='BatchRandAugment', policies='timm_increasing', num_policies=2,
         magnitude_level=8, magnitude_std='inf',
         hparams=dict(interpolation='bicubic')),
    dict(type='BatchCutout', shape=16, pad_val=0, prob=1.0),
]  # yapf: disable


def build(config: dict):
    return TRANSFORMS.build(dict(config, type=f'mmrazor_byot.{config["type"]}'))


class NoWaiting(TorchDispatchMode):
    """Fails where a GPU would have to tell the host something."""

    HOST = (
        '_local_scalar_dense',
        'nonzero',
        'is_nonzero',
        'masked_select',
        'unique',
        'bincount',
        'repeat_interleave',
        'item',
        'equal',
    )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__.strip('_')
        assert not name.startswith(tuple(n.strip('_') for n in self.HOST)), (
            f'{func} waits for the device'
        )
        if name.startswith('index') and len(args) > 1 and isinstance(args[1], (list, tuple)):
            assert all(i is None or i.dtype != torch.bool for i in args[1]), (
                f'{func} by a mask waits for the device'
            )
        return func(*args, **(kwargs or {}))


def test_the_guard_sees_waiting():
    x = torch.arange(6)
    for wait in (
        lambda: x[x > 2],
        lambda: x.sum().item(),
        lambda: x.unique(),
        lambda: bool(x[0]),
        lambda: x.nonzero(),
        lambda: x.masked_select(x > 2),
    ):
        with pytest.raises(AssertionError, match='waits'), NoWaiting():
            wait()


@pytest.mark.parametrize('config', AUGMENTS, ids=lambda c: c['type'])
def test_nothing_waits_for_the_device(config):
    transform, images = build(config), photographs(256)
    steps = transform.draw(tuple(images.shape))
    with NoWaiting():
        changed = take_steps(images, steps)
    assert not torch.equal(changed, images)


@pytest.mark.parametrize('config', AUGMENTS, ids=lambda c: c['type'])
def test_all_work_is_on_the_device(config):
    """Meta tensors have no values, and refuse to meet a CPU tensor."""
    images = torch.empty(64, 3, 32, 32, dtype=torch.uint8, device='meta')
    changed = build(config)(images)
    assert changed.device.type == 'meta'
    assert changed.shape == images.shape and changed.dtype == torch.uint8


def test_pack_and_unpack():
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 99, (3, 5)), np.zeros((0, 4), np.float32),
        rng.integers(0, 255, 7, np.uint8), rng.random((2, 1, 3)),
        rng.random(5).astype(np.float32), np.array([True, False]),
        np.float64(rng.random((4, 6)))[:, ::2]
    ]  # yapf: disable
    buffer, offsets = transfer.pack(arrays)
    assert buffer.dtype == torch.uint8 and buffer.dim() == 1
    for array, tensor in zip(arrays, transfer.unpack(buffer, arrays, offsets)):
        assert np.array_equal(tensor.numpy(), array)
        assert tensor.numpy().dtype == array.dtype


def test_all_draws_move_in_one_copy(monkeypatch):
    """The whole pipeline: one packed buffer, whatever is drawn."""
    compose = TRANSFORMS.build(
        dict(
            type='mmrazor_byot.BatchCompose',
            transforms=[dict(c, type=f'mmrazor_byot.{c["type"]}') for c in AUGMENTS],
        )
    )
    packed, pack = [], transfer.pack

    def count(arrays, pinned=False):
        packed.append((len(arrays), pinned))
        return pack(arrays, pinned)

    monkeypatch.setattr(transfer, 'pack', count)
    steps = compose.draw((64, 3, 32, 32))
    transfer.to_device([s.draws for s in steps], torch.device('meta'))
    assert packed == [(sum(len(s.draws) for s in steps), False)]
    assert packed[0][0] > 30


def test_compose_is_one_after_the_other():
    config = Config.fromfile(ROOT / 'configs/_base_/datasets/cifar100_bs16.py')
    parts = [
        dict(AUGMENTS[0], crop_size=24),
        AUGMENTS[1],
        dict(type='BatchAutoAugment', policies=config.policies),
        dict(AUGMENTS[4], shape=8),
    ]
    transforms = [build(part) for part in parts]
    compose = TRANSFORMS.build(dict(type='mmrazor_byot.BatchCompose', transforms=transforms))
    images = photographs(40)
    assert compose.out_shape(tuple(images.shape)) == (40, 3, 24, 24)
    torch.manual_seed(9)
    got = compose(images)
    torch.manual_seed(9)
    for transform in transforms:
        images = transform(images)
    assert torch.equal(got, images)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('config', AUGMENTS, ids=lambda c: c['type'])
def test_a_gpu_gives_the_same_without_waiting(config):
    transform, images = build(config), photographs(256)
    steps = transform.draw(tuple(images.shape))
    here, there = take_steps(images, steps), images.cuda()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        got = take_steps(there, steps)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    apart = (here.int() - got.cpu().int()).abs()
    # Sums of taps may be rounded the other way, and stretched after that.
    assert (apart > 0).float().mean() < 1e-3
