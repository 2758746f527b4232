"""What is published loads."""

import pytest
import torch
from run import DIGITS, WEIGHTS, failed, tool
from torch import nn

from mmrazor_byot.apis import get_model
from mmrazor_byot.errors import CheckpointError, ConfigError
from mmrazor_byot.export.publish import plain_meta, publish
from mmrazor_byot.zoo import verify

RECIPE = DIGITS.stem


@pytest.fixture
def training(tmp_path):
    """The path of a checkpoint with training state; changes of its state dict as keywords."""

    def save(prefix='', **changes):
        saved = torch.load(WEIGHTS, weights_only=True)
        saved['state_dict'] = {prefix + k: v for k, v in {**saved['state_dict'], **changes}.items()}
        saved['meta'] = {**saved['meta'], 'epoch': 60, 'seed': 3, 'time': 'today'}
        torch.save(dict(saved, optimizer={}), tmp_path / 'epoch_60.pth')
        return str(tmp_path / 'epoch_60.pth')

    return save


@pytest.mark.parametrize('prefix', ['', 'module.', '_orig_mod.'])
def test_weights_and_plain_meta(training, tmp_path, prefix, digits_network):
    path = publish(training(prefix), tmp_path / 'out', RECIPE)
    found = verify(path)
    assert path.name == f'{RECIPE}-{found.sha256[:8]}.pth' and found.others == []
    assert (found.meta['epoch'], found.meta['seed'], 'time' in found.meta) == (60, 3, False)
    state = get_model(DIGITS, path).state_dict()
    assert all(torch.equal(v, state[k]) for k, v in digits_network.state_dict().items())
    assert list(torch.load(path)['state_dict'])[0].startswith('architecture.')


FIRST = 'architecture.backbone.conv1.weight'


@pytest.mark.parametrize(
    'name, changes, words',
    [
        (RECIPE, {FIRST: None}, f'{FIRST} is not a tensor'),
        ('other', {FIRST: [1.0]}, f'{FIRST} is not a tensor'),
        (
            'other',
            {FIRST: torch.ones(2, dtype=torch.complex64)},
            f'{FIRST} is not a tensor of real',
        ),
        ('other', {FIRST: torch.ones(2).long()}, f'{FIRST} is torch.int64, not floating point'),
        ('other', {FIRST: torch.ones(2) / 0}, f'{FIRST} has NaN or infinite values'),
        (RECIPE, {FIRST: torch.ones(2)}, f'recipe {RECIPE}: other shapes: {FIRST} is \\(2,\\)'),
        (RECIPE, {'x': torch.ones(2)}, f'recipe {RECIPE}: unexpected: x'),
    ],
)
def test_refused(training, tmp_path, name, changes, words):
    with pytest.raises(CheckpointError, match=f'epoch_60.pth".* cannot be .*{words}'):
        publish(training(**changes), tmp_path / 'out', name)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'meta, classes',
    [
        (dict(dataset_meta=dict(classes=['a', 'b'])), ('a', 'b')),
        (dict(dataset_meta=None, CLASSES=('c',)), ('c',)),
        (dict(dataset_meta=dict(classes=torch.ones(2)), CLASSES=3), None),
    ],
)
def test_names_of_classes(meta, classes):
    assert plain_meta(meta).get('dataset_meta', {}).get('classes') == classes


def test_no_weights(tmp_path):
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / 'bare.pth')
    with pytest.raises(CheckpointError, match='bare.pth" has no state_dict'):
        publish(str(tmp_path / 'bare.pth'), tmp_path / 'out', 'name')


@pytest.mark.parametrize(
    'name', ['../../x', '..', '', 'a/b', '/x', 'a\n', 'a\0', '-x', '~/x', 'a b']
)
def test_a_name_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(ConfigError, match='--name .*: use letters, digits'):
        publish(str(WEIGHTS), tmp_path / 'a/b/out', name)
    assert list(tmp_path.iterdir()) == []


def test_tool(training, tmp_path):
    words = training(), '--out', tmp_path / 'a/b/out', '--name'
    line = failed(tool('model_converters/publish_model.py', *words, '../../x'))
    assert line.startswith("error: --name '../../x': use letters")
    assert not (tmp_path / 'a').exists()
