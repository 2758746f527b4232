"""Batch transforms on a device: all work is there, and the host does not wait for it."""

import pytest
import torch
from augmented import photographs
from torch.utils._python_dispatch import TorchDispatchMode

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
each_augment = pytest.mark.parametrize('config', AUGMENTS, ids=lambda c: c['type'])


def build(config: dict):
    return TRANSFORMS.build(dict(config, type=f'mmrazor_byot.{config["type"]}'))


class NoWaiting(TorchDispatchMode):
    """Fails if a GPU would have to tell the host something."""

    HOST = (
        'local_scalar_dense',
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
        assert not name.startswith(self.HOST), f'{func} waits for the device'
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


@each_augment
def test_nothing_waits_for_the_device(config):
    images = photographs(256)
    kept = images.clone()
    with NoWaiting():
        changed = build(config)(images)
    assert not torch.equal(changed, images) and torch.equal(images, kept)


@each_augment
def test_all_work_is_on_the_device(config):
    """Meta tensors have no values, and refuse to meet a CPU tensor."""
    images = torch.empty(64, 3, 32, 32, dtype=torch.uint8, device='meta')
    changed = build(config)(images)
    assert changed.device.type == 'meta'
    assert changed.shape == images.shape and changed.dtype == torch.uint8


def test_compose_is_one_after_the_other():
    parts = [dict(AUGMENTS[0], crop_size=24), *AUGMENTS[1:4], dict(AUGMENTS[4], shape=8)]
    transforms = [build(part) for part in parts]
    compose = TRANSFORMS.build(dict(type='mmrazor_byot.BatchCompose', transforms=transforms))
    images = photographs(40)
    torch.manual_seed(9)
    got = compose(images)
    assert got.shape == (40, 3, 24, 24)
    torch.manual_seed(9)
    for transform in transforms:
        images = transform(images)
    assert torch.equal(got, images)
