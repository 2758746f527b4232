"""What only a GPU can show: python -m pytest tests/test_gpu.py."""

import copy

import pytest
import torch
from augmented import photographs
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from short_runs import EMA, MODEL, config

from mmrazor_byot.datasets import ImageBatches
from mmrazor_byot.engine.hooks.compile_hook import compile_model
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS, OPTIM_WRAPPERS, TRANSFORMS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')

TRANSFORM_CONFIGS = [
    dict(type='mmrazor_byot.BatchRandomCrop', crop_size=32, padding=4),
    dict(type='mmrazor_byot.BatchRandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmrazor_byot.BatchAutoAugment', policies='imagenet'),
    dict(
        type='mmrazor_byot.BatchRandAugment',
        policies='timm_increasing',
        num_policies=2,
        magnitude_level=8,
        magnitude_std='inf',
        hparams=dict(interpolation='bicubic'),
    ),
    dict(type='mmrazor_byot.BatchCutout', shape=16, pad_val=0, prob=1.0),
]


@pytest.fixture(autouse=True)
def exact_float32():
    """cuDNN would use TF32 for convolutions; for matrices it is off."""
    torch._dynamo.reset()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def step(device, amp=False, compiled=False):
    """One training step of the same network on the same 16 images.

    Returns:
        tuple: What is logged, and the weights after it, both on the CPU.
    """
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(MODEL)).to(device).train()
    if compiled:
        assert compile_model(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    wrapper = OptimWrapper(optimizer)
    if amp:
        wrapper = OPTIM_WRAPPERS.build(
            dict(type='mmrazor_byot.AmpOptimWrapper', dtype='bfloat16', optimizer=optimizer)
        )
    images = photographs(16, 16, 16)
    samples = [DataSample().set_gt_label(i % 5) for i in range(16)]
    log = model.train_step(dict(inputs=images, data_samples=samples), wrapper)
    return {k: v.item() for k, v in log.items()}, {
        k: v.cpu() for k, v in model.state_dict().items()
    }


@pytest.mark.parametrize('compiled', [False, True], ids=['eager', 'compiled'])
def test_a_step_is_that_of_the_cpu(compiled):
    log, weights = step('cuda', compiled=compiled)
    expected_log, expected = step('cpu')
    assert log == pytest.approx(expected_log, rel=1e-4)
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_bfloat16_step_is_finite():
    log, weights = step('cuda', amp=True)
    assert all(v.isfinite().all() for v in weights.values())
    assert log == pytest.approx(step('cuda')[0], rel=0.03)


def test_no_sync_in_an_iteration(tmp_path):
    """By CUDA's own word. The images are pinned, as in the recipes; iteration 1 is logged."""
    cfg = config(
        tmp_path / 'run',
        epochs=1,
        hooks=[EMA],
        optim=dict(
            type='mmrazor_byot.AmpOptimWrapper',
            dtype='bfloat16',
            clip_grad=dict(type='value', clip_value=0.1),
        ),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=2)),
        channels_last=True,
    )
    cfg.train_dataloader.pin_memory = True
    cfg.train_dataloader.dataset.count = 32
    cfg.model.data_preprocessor.type = 'mmrazor_byot.BatchDataPreprocessor'
    runner = Runner.from_cfg(cfg)
    first, last, modes = Hook(), Hook(), ['error', 'default', 'error', 'default']

    def start(runner, batch_idx, data_batch=None):
        torch.cuda.set_sync_debug_mode(modes[batch_idx])

    first.before_train_iter = start
    last.after_train_iter = lambda *_, **__: torch.cuda.set_sync_debug_mode('default')
    runner._hooks = [first, *runner._hooks, last]
    try:
        runner.train()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert runner.iter == 4


@pytest.mark.parametrize('cfg', TRANSFORM_CONFIGS, ids=lambda c: c['type'])
def test_batch_transforms_are_those_of_the_cpu_without_waiting(cfg):
    transform, images = TRANSFORMS.build(cfg), photographs(256)
    torch.manual_seed(9)
    here, there = transform(images), images.cuda()
    torch.cuda.synchronize()
    torch.manual_seed(9)
    torch.cuda.set_sync_debug_mode('error')
    try:
        got = transform(there)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    apart = (here.int() - got.cpu().int()).abs()
    # Sums of taps may be rounded the other way, and stretched after that.
    assert (apart > 0).float().mean() <= (1e-3 if 'Augment' in cfg['type'] else 0)


@pytest.mark.parametrize('device', ['auto', 'cuda'])
def test_image_batches(device):
    seven = dict(type='mmrazor_byot.Digits', indices=7)
    dataset = ImageBatches(seven, device=device)
    batch = dataset.__getitems__([4, 2])
    assert dataset.images.is_cuda and batch['inputs'].is_cuda
    assert batch['data_samples'].gt_label.is_cuda
    expected = ImageBatches(seven).__getitems__([4, 2])
    assert torch.equal(batch['inputs'].cpu(), expected['inputs'].cpu())
    loader = torch.utils.data.DataLoader(dataset, 2, pin_memory=True)
    with pytest.raises(ConfigError, match='set pin_memory=False'):
        dataset.check_loader(loader)
