"""The networks and images that the analysis tools compare."""

import argparse

import numpy as np
import pytest
from compare import (
    check_same_images,
    class_names,
    default_names,
    image_loader,
    load_networks,
)
from mmengine.config import Config
from run import DIGITS, PLAIN, RECIPES, WEIGHTS

from mmrazor_byot.datasets import Digits
from mmrazor_byot.errors import CheckpointError, ConfigError
from mmrazor_byot.evaluation.collect import run_over

BYOT = [str(DIGITS), str(WEIGHTS)]


def flags(*models, names=None, seed=0):
    return argparse.Namespace(
        model=[list(m) for m in models], names=names, seed=seed, cfg_options=None
    )


def test_both_kinds_of_networks(plain_weights):
    byot, plain = load_networks(flags(BYOT, (str(PLAIN), plain_weights)))
    assert byot.name == 'byot_resnet18_2xb64_digits'
    assert plain.facts() == dict(
        name='plain_resnet18_2xb64_digits',
        checkpoint='plain.pth',
        config='plain_resnet18_2xb64_digits.py',
    )
    loaders = [image_loader(n.cfg, limit=40) for n in (byot, plain)]
    answers = [run_over(n.model, loader) for n, loader in zip((byot, plain), loaders)]
    assert answers[0].logits.shape == (40, 4, 10)
    np.testing.assert_allclose(answers[1].logits[:, 0], answers[0].logits[:, 3], rtol=1e-5)


def test_names():
    models = [('a/x.py', 'm/1.pth'), ('b/y.py', '1.pth'), ('x.py', '2.pth')]
    assert default_names(models) == ['x 1', 'y', 'x 2']
    assert [n.name for n in load_networks(flags(BYOT, names=['mine']))] == ['mine']


@pytest.mark.parametrize(
    'args, error, words',
    [
        (flags([str(DIGITS)]), ConfigError, 'give a config and a checkpoint'),
        (flags(BYOT + BYOT), ConfigError, 'again for the next network'),
        (flags(BYOT, names=['a', 'b']), ConfigError, '2 names for 1 networks'),
        (flags(BYOT, BYOT), ConfigError, 'a name of its own'),
        (flags(BYOT, seed=-1), ConfigError, '--seed -1'),
        (flags(('none.py', str(WEIGHTS))), ConfigError, '"none.py" does not exist'),
        (flags((str(DIGITS), 'none.pth')), CheckpointError, '"none.pth" does not exist'),
        (flags((str(PLAIN), str(WEIGHTS))), CheckpointError, 'does not fit the model of'),
        (
            flags((str(RECIPES.parents[2] / '_base_/default_runtime.py'), str(WEIGHTS))),
            ConfigError,
            'has no model',
        ),
    ],
)
def test_wrong_networks(args, error, words):
    with pytest.raises(error, match=words):
        load_networks(args)


@pytest.mark.parametrize('name', ['byot_resnet18_2xb64_digits', 'byot_resnet18-fast_2xb64_digits'])
def test_fewer_images_are_spread_over_all(name):
    cfg = Config.fromfile(RECIPES / f'{name}.py')
    batches = list(image_loader(cfg, limit=100))
    labels = np.array(
        [int(sample.gt_label) for batch in batches for sample in batch['data_samples']]
    )
    numbers = np.linspace(0, 598, 100).round().astype(int)
    assert labels.tolist() == Digits(split='test').labels[numbers].tolist()
    assert len(image_loader(cfg, limit=10**6).dataset) == 599


def test_wrong_images():
    cfg = Config.fromfile(DIGITS)
    with pytest.raises(ConfigError, match='--limit-images 0'):
        image_loader(cfg, limit=0)
    cfg.test_dataloader = None
    with pytest.raises(ConfigError, match='has no test_dataloader'):
        image_loader(cfg)


def test_the_same_images():
    cfg = Config.fromfile(DIGITS)
    few, more = (list(image_loader(cfg, limit=n)) for n in (4, 5))
    assert check_same_images(dict(a=few, b=few)) == 4
    with pytest.raises(ConfigError, match=r'a and b .*\(4 and 5\)'):
        check_same_images(dict(a=few, b=more))


def test_class_names():
    dataset = Digits(split='test')
    assert class_names(dataset, [2, 7]) == ['2', '7']
    dataset._metainfo['classes'] = tuple('abcdefghij')
    assert class_names(dataset, [2, 7]) == ['c', 'h']
    del dataset._metainfo['classes']
    assert class_names(dataset, [2, 7]) == ['2', '7']
