"""A checkpoint that MMRazor's own BYOT has saved works in ours."""

import pickle
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from mmpretrain import get_model
from peers import mmrazor_config
from run import RECIPES, exits, succeeded, tool

from mmrazor_byot.datasets.packed_images import PackedImages, pack_images
from mmrazor_byot.engine import CheckpointCheckHook
from mmrazor_byot.errors import CheckpointError
from mmrazor_byot.export.classifier import export_classifier
from mmrazor_byot.registry import MODELS

RECIPE = RECIPES / 'byot_mmrazor_resnet18_8xb16_cifar100.py'
IMAGES = 12

DATASET = """
_base_ = {recipe!r}
images = dict(type='mmrazor_byot.PackedImages', ann_file={file!r},
              split='test', pipeline=[dict(type='PackInputs')])
loader = dict(batch_size=12, num_workers=0, persistent_workers=False)
train_dataloader = dict(dataset=dict(_delete_=True, **images), **loader)
val_dataloader = dict(dataset=dict(_delete_=True, **images), **loader)
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(interval=1))
"""


@pytest.fixture(scope='module')
def mmrazor_run(tmp_path_factory):
    """Folder with MMRazor's checkpoint, after two steps, and a config."""
    folder = tmp_path_factory.mktemp('mmrazor')
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, 32, 32, 3))
    files = [cv2.imencode('.png', image)[1].tobytes() for image in images]
    labels = [8 * i for i in range(IMAGES)]
    pack_images(folder / 'images.npz', [str(i) for i in range(100)], test=(files, labels))
    config = folder / 'config.py'
    config.write_text(DATASET.format(recipe=str(RECIPE), file=str(folder / 'images.npz')))
    cfg = Config.fromfile(config)
    init_default_scope('mmpretrain')
    cfg.train_dataloader.batch_size = 6
    runner = Runner(
        mmrazor_config(),
        work_dir=str(folder / 'work'),
        train_dataloader=cfg.train_dataloader,
        optim_wrapper=cfg.optim_wrapper,
        param_scheduler=cfg.param_scheduler,
        train_cfg=dict(by_epoch=True, max_epochs=1),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook')),
        default_scope='mmpretrain',
        experiment_name='mmrazor_test',
    )
    runner.train()
    return folder, runner.model.eval()


@pytest.fixture
def checkpoint(mmrazor_run):
    return mmrazor_run[0] / 'work' / 'epoch_1.pth'


def their_logits(model, images):
    """All exits of MMRazor's model: its recorders through its connectors."""
    distiller = model.distiller
    with torch.no_grad():
        with distiller.student_recorders, distiller.teacher_recorders:
            deepest = model.architecture(images)
        return [
            distiller.get_record(f'bb_s{i}', True, connector_idx=1, connector=f'loss_s{i}_sfeat')
            for i in (1, 2, 3)
        ] + [deepest]


def their_images(folder, model):
    dataset = PackedImages(str(folder / 'images.npz'), 'test')
    images = torch.tensor(dataset.images).permute(0, 3, 1, 2).contiguous()
    return model.data_preprocessor(dict(inputs=images))['inputs']


def test_the_file_is_what_mmrazor_saves(checkpoint):
    saved = torch.load(checkpoint, weights_only=False)
    assert {'optimizer', 'message_hub', 'param_schedulers', 'meta'} <= saved.keys()
    assert {key.split('.')[0] for key in saved['state_dict']} == {'architecture', 'distiller'}
    assert 'distiller.connectors.loss_s1_sfeat.fc.weight' in saved['state_dict']


def test_logits_bit_for_bit(mmrazor_run, checkpoint):
    folder, theirs = mmrazor_run
    ours = MODELS.build(Config.fromfile(RECIPE).model)
    load_checkpoint(ours, str(checkpoint), 'cpu', strict=True)
    ours.eval()
    images = their_images(folder, theirs)
    with torch.no_grad():
        logits = ours(images)
    expected = their_logits(theirs, images)
    assert len(logits) == 4 and all(map(torch.equal, logits, expected))


def test_tools_test_scores_every_exit(mmrazor_run, checkpoint, tmp_path):
    folder, theirs = mmrazor_run
    out = tmp_path / 'predictions.pkl'
    flags = '--work-dir', tmp_path, '--out', out
    succeeded(tool('test.py', folder / 'config.py', checkpoint, *flags))
    predictions = pickle.loads(out.read_bytes())
    expected = their_logits(theirs, their_images(folder, theirs))
    scores = torch.stack([p['exit_scores'] for p in predictions])
    assert torch.equal(scores, torch.stack(expected, dim=1).softmax(dim=-1))
    rows = exits(tmp_path)
    right = [(z.argmax(1) == 8 * torch.arange(IMAGES)).sum() for z in expected]
    assert [row['top1'] for row in rows[:4]] == pytest.approx(
        [100 * n.item() / IMAGES for n in right]
    )
    assert rows[3]['params'] == 11220132


def test_fine_tuning_starts_from_it(mmrazor_run, checkpoint, tmp_path):
    folder, theirs = mmrazor_run
    flags = '--work-dir', tmp_path, '--no-validate', '--cfg-options', f'load_from={checkpoint}'
    options = 'train_cfg.max_epochs=1', 'optim_wrapper.optimizer.lr=0', 'custom_hooks=[]'
    succeeded(tool('train.py', folder / 'config.py', *flags, *options))
    state = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    expected = theirs.state_dict()
    for i in (1, 2, 3):
        assert torch.equal(
            state[f'exit_heads.{i - 1}.fc.weight'],
            expected[f'distiller.connectors.loss_s{i}_sfeat.fc.weight'],
        )


@pytest.mark.parametrize('exit_number', [1, 4])
def test_it_is_exported(mmrazor_run, checkpoint, tmp_path, exit_number):
    folder, theirs = mmrazor_run
    done = export_classifier(Config.fromfile(RECIPE), str(checkpoint), tmp_path, exit_number)
    classifier = get_model(str(done.config), pretrained=str(done.checkpoint))
    images = their_images(folder, theirs)
    with torch.no_grad():
        logits = classifier(images)
    assert torch.equal(logits, their_logits(theirs, images)[exit_number - 1])
    # The full network is mmpretrain's own ResNet-18.
    assert ('mmrazor' in str(Config.fromfile(done.config).model)) == (exit_number == 1)


def test_a_missing_connector_is_named(mmrazor_run):
    state = mmrazor_run[1].state_dict()
    state = {name: state[name] for name in state if '.loss_s3_sfeat.' not in name}
    loading = dict(_load_from='a.pth', work_dir='', _resume=False, _train_loop=None)
    runner = SimpleNamespace(model=MODELS.build(Config.fromfile(RECIPE).model), **loading)
    with pytest.raises(CheckpointError, match='missing: exit_heads.2.') as e:
        CheckpointCheckHook().after_load_checkpoint(runner, dict(state_dict=state))
    assert 'unexpected' not in str(e.value)
