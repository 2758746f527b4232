"""A frozen network keeps every bit; its exits learn, from labels or from it."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from frozen import ADAMW, AMP, architecture, frozen_config, model, prepared, write_classifier
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from run import ROOT, script, succeeded
from short_runs import GRAPHS, assert_close, loader, saved

from mmrazor_byot.errors import CheckpointError, ConfigError, DatasetError
from mmrazor_byot.launch import leave_processes, start_processes
from mmrazor_byot.registry import MODELS

KEEP = dict(type='mmrazor_byot.KeepMapsHook')
PREFIX = 'architecture.'
RARE = dict(checkpoint=dict(type='CheckpointHook', interval=15))


@pytest.fixture
def checkpoint(once):
    return once('frozen', lambda folder: write_classifier(folder / 'plain.pth')) / 'plain.pth'


def run(*args, **kwargs) -> Runner:
    runner = Runner.from_cfg(frozen_config(*args, **kwargs))
    runner.train()
    return runner


def weights(path) -> dict:
    return torch.load(path, weights_only=True)['state_dict']


def frozen_part(state, prefix=PREFIX) -> dict:
    """Its names without the prefix."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def accuracies(network) -> list:
    """Of each exit, on the images that were trained on."""
    with torch.no_grad():
        answers = network.eval()(prepared())
    return [(z.argmax(1) == torch.arange(20) % 5).float().mean().item() for z in answers]


@pytest.mark.parametrize('hooks', [[], [KEEP]], ids=['images', 'maps'])
@pytest.mark.parametrize('learned', ['labels', 'deepest', 'both'])
def test_every_bit_is_kept_and_the_exits_learn(learned, hooks, checkpoint, tmp_path):
    """With weight decay, a moving average, mixed precision and batch norm in training mode."""
    before = MODELS.build(model(checkpoint, learned))
    before.init_weights()
    changes = dict(optim=AMP | ADAMW) if learned == 'both' else {}
    runner = run(tmp_path, checkpoint, 15, learned, hooks, default_hooks=RARE, **changes)
    plain = weights(checkpoint)
    last = torch.load(tmp_path / 'epoch_15.pth', weights_only=False)
    states = {
        'model': frozen_part(runner.model.state_dict()),
        'average': frozen_part(last['state_dict']),
        'raw': frozen_part(last['ema_state_dict'], f'module.{PREFIX}'),
    }
    for state in states.values():
        assert_close(state, plain)
    before.eval()
    with torch.no_grad():
        assert torch.equal(runner.model.eval()(prepared())[-1], before(prepared())[-1])
    (then, deepest), (now, same) = accuracies(before), accuracies(runner.model)
    assert deepest == same == 1
    assert now >= then + 0.3
    assert not torch.equal(runner.model.exit_heads[0].fc.weight, before.exit_heads[0].fc.weight)


def test_every_switch_at_once(checkpoint, tmp_path):
    switches = dict(channels_last=True, compile=dict(backend='counted'))
    GRAPHS.clear()
    runner = run(tmp_path, checkpoint, 2, **switches)
    assert GRAPHS == [8]
    assert_close(frozen_part(runner.model.state_dict()), weights(checkpoint))


def test_the_network_runs_without_gradients(checkpoint):
    network = MODELS.build(model(checkpoint, 'deepest')).train()
    assert not any(m.training for m in network.architecture.modules())
    assert network.exit_heads.training
    sections = network.forward_sections(torch.randn(2, 3, 16, 16))
    assert not any(x.requires_grad for x in (*sections.maps, sections.feature, sections.logits))
    trained = [name for name, p in network.named_parameters() if p.requires_grad]
    assert trained and all(name.startswith('exit_heads.') for name in trained)


def test_losses_that_are_left(checkpoint):
    for learned, names in dict(
        labels=['label'], deepest=['logit'], both=['label', 'logit', 'hint']
    ).items():
        network = MODELS.build(model(checkpoint, learned))
        terms = network.loss_terms(torch.randn(3, 3, 16, 16), torch.tensor([0, 1, 2]))
        assert list(terms) == [f'exit1.{name}_loss' for name in names]
        assert network.needs_labels == (learned != 'deepest')


@pytest.mark.parametrize('loading', ['load_from', 'built', 'state dict'])
def test_other_ways_to_the_weights(loading, checkpoint, tmp_path):
    """A plain checkpoint as load_from, also as a bare state dict, or a classifier as it is."""
    changes, plain = {}, weights(checkpoint)
    settings = model(checkpoint, 'deepest')
    del settings['architecture']['init_cfg']
    if loading == 'built':
        classifier = MODELS.build(architecture())
        classifier.load_state_dict(plain)
        settings['architecture'] = classifier
    else:
        torch.save(plain, tmp_path / 'bare.pth')
        bare = loading == 'state dict'
        changes['load_from'] = str(tmp_path / 'bare.pth' if bare else checkpoint)
    if loading == 'built':  # a config cannot be copied with it
        network = MODELS.build(settings)
        network.init_weights()
        assert network.has_weights
    else:
        network = run(tmp_path, checkpoint, 1, model=settings, **changes).model
    assert_close(frozen_part(network.state_dict()), plain)


def test_unfrozen_from_a_plain_checkpoint(checkpoint, tmp_path):
    """As load_from: all is trained, from there."""
    settings = model(checkpoint)
    settings.update(architecture=architecture(), freeze_architecture=False)
    small = dict(optimizer=dict(type='SGD', lr=1e-4))
    changes = dict(model=settings, load_from=str(checkpoint), optim=small)
    runner = run(tmp_path, checkpoint, 1, **changes)
    after = frozen_part(runner.model.state_dict())
    for name, value in weights(checkpoint).items():
        if name.endswith('weight'):
            torch.testing.assert_close(after[name], value, atol=1e-2, rtol=0)
            assert not torch.equal(after[name], value), name
    name = 'backbone.bn1.running_mean'
    assert not torch.equal(after[name], weights(checkpoint)[name])


@pytest.mark.parametrize(
    'hooks', [[], [KEEP], [dict(KEEP, views=2)]], ids=['images', 'maps', 'views']
)
def test_resuming(hooks, checkpoint, tmp_path):
    """Of images that are augmented at random, the same views are kept again."""
    changes = dict(hooks=hooks, train_dataloader=loader(20, True, 'FlippedNoise'))
    whole = run(tmp_path / 'whole', checkpoint, 3, **changes)
    run(tmp_path / 'part', checkpoint, 1, **changes)
    part = dict(load_from=str(tmp_path / 'part/epoch_1.pth'), resume=True)
    resumed = run(tmp_path / 'part', checkpoint, 3, **changes, **part)
    for part in ('state_dict', 'ema_state_dict'):
        assert_close(saved(resumed, 3)[part], saved(whole, 3)[part])
    assert not torch.equal(
        saved(whole, 3)['state_dict']['exit_heads.0.fc.weight'],
        saved(whole, 1)['state_dict']['exit_heads.0.fc.weight'],
    )


def test_random_weights_are_refused(checkpoint, tmp_path):
    """Also where a run should go on, but has not begun."""
    settings = model(checkpoint)
    del settings['architecture']['init_cfg']
    network = dict(type='torchvision.models.resnet18', num_classes=5)
    untrained = dict(type='mmrazor_byot.TorchClassifier', network=network, after=['layer1'])
    for changes in (
        dict(model=settings),
        dict(model=settings, resume=True),
        dict(model=dict(settings, architecture=untrained)),
    ):
        with pytest.raises(ConfigError, match='freeze_architecture=True, but .* random weights'):
            run(tmp_path, checkpoint, 1, **changes)


def test_a_part_of_the_weights_is_refused(checkpoint, tmp_path):
    """What is missing would stay random for ever."""
    settings = model(checkpoint)
    del settings['architecture']['init_cfg']
    state = weights(checkpoint)
    del state['head.fc.bias']
    torch.save(state, tmp_path / 'part.pth')
    whole = MODELS.build(model(checkpoint)).state_dict()
    whole['architecture.head.fc.bias'] = torch.ones(7)
    torch.save(whole, tmp_path / 'other.pth')
    for name, difference in dict(
        part='missing: head.fc.bias', other=r'other shapes: head.fc.bias is \(7,\), not \(5,\)'
    ).items():
        match = f'{name}.pth" does not fit the frozen ImageClassifier: {difference}'
        with pytest.raises(CheckpointError, match=match):
            changes = dict(model=settings, load_from=str(tmp_path / f'{name}.pth'))
            run(tmp_path, checkpoint, 1, **changes)


def test_exits_of_another_kind_are_trained_anew(checkpoint, tmp_path):
    """The frozen weights of a whole network fit; its heads need not."""
    whole = MODELS.build(model(checkpoint))
    whole.init_weights()
    torch.save(whole.state_dict(), tmp_path / 'whole.pth')
    settings = model(checkpoint, exit_head=dict(type='mmrazor_byot.StridedHead'))
    del settings['architecture']['init_cfg']
    runner = run(tmp_path, checkpoint, 1, model=settings, load_from=str(tmp_path / 'whole.pth'))
    assert_close(frozen_part(runner.model.state_dict()), weights(checkpoint))


@pytest.mark.parametrize('hooks', [[], [KEEP]], ids=['images', 'maps'])
def test_a_folder_of_unlabelled_images(hooks, checkpoint, tmp_path):
    (tmp_path / 'images').mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f'images/{i}.png')
    loader = dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(
            type='CustomDataset',
            data_root=str(tmp_path / 'images'),
            with_label=False,
            pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
        ),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    changes = dict(train_dataloader=loader, hooks=hooks)
    runner = run(tmp_path, checkpoint, 1, 'deepest', **changes)
    assert runner.iter == 3
    assert_close(frozen_part(runner.model.state_dict()), weights(checkpoint))
    with pytest.raises(DatasetError, match='the images have no labels'):
        run(tmp_path, checkpoint, 1, 'both', **changes)


def test_two_processes(checkpoint, tmp_path):
    words = script(__file__, checkpoint, tmp_path, ranks=2, PYTHONPATH=f'{ROOT}:{ROOT}/tests')
    text = succeeded(words)
    found = json.loads(next(line for line in text.splitlines() if line.startswith('{"images')))
    for name in ('images', 'maps'):
        assert found[name]['changed'] == []
        assert found[name]['equal'] and found[name]['iterations'] == 30 * 2
        assert found[name]['accuracy'] >= 0.4  # 0.2 is a guess
    assert found['maps']['kept'] == [10, 10]
    said = [line for line in text.splitlines() if line.startswith('feature maps')]
    assert said == ['feature maps of 10 images in 1 views: 0.00 GB in memory']


def main() -> None:
    checkpoint, root = sys.argv[1:]
    cfg = Config()
    start_processes(cfg, Namespace(local_rank=None, launcher='pytorch'))
    found = {}
    for name, hooks in dict(images=[], maps=[KEEP]).items():
        changes = dict(launcher='pytorch', model_wrapper_cfg=cfg.model_wrapper_cfg)
        changes['default_hooks'] = RARE
        runner = run(Path(root) / name, checkpoint, 30, 'both', hooks, **changes)
        network = runner.model.module
        state, plain = network.state_dict(), weights(checkpoint)
        own = torch.cat([v.double().flatten() for v in state.values()])
        both = [torch.empty_like(own) for _ in range(2)]
        dist.all_gather(both, own)
        counts = [None, None]
        dist.all_gather_object(counts, len(runner.train_dataloader.dataset))
        found[name] = dict(
            changed=[k for k, v in plain.items() if not torch.equal(state[PREFIX + k], v)],
            equal=torch.equal(*both),
            iterations=runner.iter,
            accuracy=accuracies(network)[0],
            kept=counts,
        )
    if dist.get_rank() == 0:
        print(json.dumps(found))
    leave_processes()


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
