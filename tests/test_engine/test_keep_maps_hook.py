"""Training by the Runner on kept feature maps."""

import os

import pytest
import torch
from frozen import frozen_config, model, prepared, write_classifier
from mmengine.runner import Runner
from short_runs import VALIDATION, assert_close, loader, logged, saved

from mmrazor_byot.errors import ConfigError

KEEP = dict(type='mmrazor_byot.KeepMapsHook')
SGD = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9))


@pytest.fixture
def checkpoint(once):
    return once('frozen', lambda folder: write_classifier(folder / 'plain.pth')) / 'plain.pth'


def run(*args, **kwargs) -> Runner:
    runner = Runner.from_cfg(frozen_config(*args, **kwargs))
    runner.train()
    return runner


@pytest.mark.parametrize('learned', ['both', 'deepest'])
def test_it_trains_as_without(learned, checkpoint, tmp_path):
    """Where a batch is all images, in whatever order."""
    whole = dict(loader(20, True), batch_size=20)
    changes = dict(optim=SGD, train_dataloader=whole, learned=learned, **VALIDATION)
    plain = run(tmp_path / 'plain', checkpoint, 4, **changes)
    kept = run(tmp_path / 'kept', checkpoint, 4, hooks=[KEEP], **changes)
    assert_close(saved(kept, 4)['state_dict'], saved(plain, 4)['state_dict'], atol=1e-4, rtol=1e-3)
    for a, b in zip(logged(kept), logged(plain), strict=True):
        for name in a.keys() & b.keys() - {'time', 'data_time', 'memory'}:
            assert a[name] == pytest.approx(b[name], rel=1e-3, abs=1e-5), name
    # Validation is on images: the classifier knows those of training.
    last = logged(kept)[-1]
    assert [last[name] for name in last if name.startswith('exit2')] == [100]


@pytest.mark.parametrize('settings', [dict(folder='maps'), dict(dtype='float16'), dict(views=2)])
def test_settings(settings, checkpoint, tmp_path, capsys):
    if 'folder' in settings:
        settings = dict(folder=str(tmp_path / 'maps'))
    hook = dict(KEEP, **settings)
    data = loader(20, True, 'FlippedNoise')
    default_hooks = dict(keep_maps=hook)  # where a config replaces no list of hooks
    runner = run(
        tmp_path / 'run', checkpoint, 2, default_hooks=default_hooks, train_dataloader=data
    )
    kept = runner.train_dataloader.dataset
    views, dtype = settings.get('views', 1), getattr(torch, settings.get('dtype', 'float32'))
    assert len(kept) == 20 and len(kept.fields[0]) == views * 20
    assert {field.dtype for field in kept.fields} == {dtype}
    assert runner.iter == 6
    assert kept.metainfo['classes'] == tuple('abcde')  # which checkpoints keep
    assert saved(runner, 2)['meta']['dataset_meta']['classes'] == tuple('abcde')
    assert f'20 images in {views} views' in capsys.readouterr().out
    if 'folder' in settings:
        assert os.listdir(tmp_path / 'maps') == []


def test_mixed_labels(checkpoint, tmp_path):
    """Mixup mixes the images before their maps are kept; the labels are probabilities."""
    network = model(checkpoint)
    network['architecture']['train_cfg'] = dict(augments=[dict(type='Mixup', alpha=0.8)])
    runner = run(tmp_path, checkpoint, 2, model=network, hooks=[KEEP])
    kept = runner.train_dataloader.dataset
    assert kept.target.shape == (20, 5)
    torch.testing.assert_close(kept.target.sum(1), torch.ones(20))
    assert ((kept.target > 0) & (kept.target < 1)).any()
    plain = runner.model.forward_sections(prepared()).logits
    assert not torch.allclose(kept.fields[-1].sort(0)[0], plain.sort(0)[0], atol=1e-2)


@pytest.mark.parametrize('changes', [dict(by_epoch=False), dict(compile=True), dict(frozen=False)])
def test_refused(changes, checkpoint, tmp_path):
    settings = dict(
        by_epoch=dict(
            train_cfg=dict(by_epoch=False, max_iters=3),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False)),
        ),
        compile=dict(compile=dict(backend='eager')),
        frozen=dict(model=model(checkpoint, freeze_architecture=False)),
    )
    match = 'the network is trained' if 'frozen' in changes else 'train by epoch .* without compile'
    with pytest.raises(ConfigError, match=match):
        run(tmp_path, checkpoint, hooks=[KEEP], **settings[next(iter(changes))])


@pytest.mark.parametrize('settings', [dict(dtype='int8'), dict(dtype=torch.float16), dict(dtype=2)])
def test_types(settings, checkpoint, tmp_path):
    with pytest.raises(ConfigError, match='float32, float16 or bfloat16'):
        frozen = frozen_config(tmp_path, checkpoint, hooks=[dict(KEEP, **settings)])
        Runner.from_cfg(frozen)


def test_views_are_checked(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match='views=0; an integer, at least 1'):
        run(tmp_path, checkpoint, hooks=[dict(KEEP, views=0)])
