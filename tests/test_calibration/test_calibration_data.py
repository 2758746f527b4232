"""What is calibrated on is neither tested on nor, if told so, trained on."""

import contextlib
import warnings

import numpy as np
import pytest
import torch
from mmengine.config import Config
from recipes import ALL, load

from mmrazor_byot.calibration import calibration_loader
from mmrazor_byot.datasets import per_image
from mmrazor_byot.errors import ConfigError

DIGITS = 'byot_resnet18_2xb64_digits'
FAST = 'byot_resnet18-fast_2xb64_digits'


@pytest.fixture
def digits():
    """A recipe that trains on all images, and calibrates on every tenth of them."""
    cfg = load(DIGITS)
    del cfg.train_dataloader.dataset['hold_out_every']
    cfg.calibration_dataloader.dataset.hold_out_every = 10
    return cfg


@pytest.fixture
def fast():
    """The same in batched data."""
    cfg = load(FAST)
    del cfg.train_dataloader.dataset.dataset['hold_out_every']
    cfg.calibration_dataloader.dataset.dataset.hold_out_every = 10
    return cfg


@contextlib.contextmanager
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        yield


def warns_of_training(every=10):
    option = f'--cfg-options train_dataloader.dataset.hold_out_every={every} '
    return pytest.warns(UserWarning, match=f'trains on the images .*{option}')


def refuses_test_images():
    return pytest.raises(ConfigError, match='reads the test images')


def images(dataset):
    return {image.tobytes() for image in dataset.images}


def test_images_that_were_held_out(digits):
    digits.train_dataloader.dataset.hold_out_every = 10
    with no_warning():
        loader = calibration_loader(digits)
    dataset = loader.dataset
    train, test = (
        type(dataset)(split=split, hold_out_every=every)
        for split, every in (('train', 10), ('test', None))
    )
    assert len(dataset) + len(train) == 1198
    # Of each of the ten digits every tenth.
    counts = [(train.labels == i).sum() + (dataset.labels == i).sum() for i in range(10)]
    assert len(dataset) == sum(count // 10 for count in counts) == 116
    assert not images(dataset) & images(train)
    assert not images(dataset) & images(test)
    assert dataset.pipeline.transforms[0].__class__.__name__ == 'PackInputs'
    labels = [s.gt_label.item() for batch in loader for s in batch['data_samples']]
    assert labels == dataset.labels.tolist()  # in their order


@pytest.mark.parametrize(
    'train, calibration',
    [
        (dict(), dict(hold_out_every=10)),
        (dict(hold_out_every=5), dict(hold_out_every=7)),
        (dict(hold_out_every=10, held_out=True), dict()),
        (dict(samples_per_class=50), dict()),
        (dict(num_classes=5), dict()),
        # The pipelines differ, the images do not.
        (dict(), dict(hold_out_every=None, held_out=False)),
    ],
)
def test_images_that_were_trained_on(digits, train, calibration):
    digits.train_dataloader.dataset.update(train)
    digits.calibration_dataloader.dataset.update(calibration)
    with warns_of_training(calibration.get('hold_out_every', 10)):
        assert len(calibration_loader(digits).dataset) > 100


@pytest.mark.parametrize('train', [dict(samples_per_class=50), dict(num_classes=5)])
def test_fewer_images_to_train_on(digits, train):
    """What is held out of all images is held out of the first ones."""
    digits.train_dataloader.dataset.update(hold_out_every=10, **train)
    with no_warning():
        held_out = calibration_loader(digits).dataset
    trained = type(held_out)(hold_out_every=10, **train)
    assert len(held_out) == 116 and len(trained) > 400
    assert not images(held_out) & images(trained)


@pytest.mark.parametrize('change', [dict(pipeline=[dict(type='PackInputs')]), dict(test_mode=True)])
def test_the_test_images(digits, change):
    digits.calibration_dataloader = digits.test_dataloader.copy()
    digits.calibration_dataloader.dataset = {**digits.test_dataloader.dataset, **change}
    with refuses_test_images():
        calibration_loader(digits)


@pytest.mark.parametrize('every', [None, 5, 10])
def test_a_part_of_the_test_images(digits, every):
    """Refused, unless the test leaves out the very same part: 57, a tenth of each digit."""
    digits.calibration_dataloader.dataset.split = 'test'
    digits.test_dataloader.dataset.hold_out_every = every
    with no_warning() if every == 10 else refuses_test_images():
        assert len(calibration_loader(digits).dataset) == 57


def test_nothing_but_a_calibration_loader():
    """A config may name no other data, but this it must."""
    cfg = Config(dict(calibration_dataloader=load(DIGITS).calibration_dataloader))
    with no_warning():
        assert len(calibration_loader(cfg).dataset) == 236  # of each digit every fifth
    with pytest.raises(ConfigError, match='no calibration_dataloader'):
        calibration_loader(Config(dict()))


@pytest.mark.parametrize('every', [10, 5])
def test_batched_data_of_held_out_images(digits, fast, every):
    for cfg in (digits, fast):
        cfg.calibration_dataloader.dataset.hold_out_every = every
    found = []
    for cfg in (digits, fast):
        trained = Config(dict(fast, train_dataloader=cfg.train_dataloader))
        with warns_of_training(every):
            found.append(calibration_loader(trained))
    trained.train_dataloader.dataset.hold_out_every = every
    with no_warning():
        found.append(calibration_loader(trained))
    digits.pop('train_dataloader')
    expected = calibration_loader(digits).dataset
    for loader in found:
        assert len(loader.dataset) == len(expected)
        images = [batch['inputs'] for batch in loader]
        assert np.array_equal(torch.cat(images).permute(0, 2, 3, 1), expected.images)
        labels = [batch['data_samples'].gt_label for batch in loader]
        assert torch.cat(labels).tolist() == expected.labels.tolist()


@pytest.mark.parametrize('tested', [DIGITS, FAST])
def test_the_test_images_in_batched_data(fast, tested):
    fast.calibration_dataloader = fast.test_dataloader.copy()
    fast.test_dataloader = load(tested).test_dataloader
    with refuses_test_images():
        calibration_loader(fast)


@pytest.mark.parametrize(
    'name', [n for n in ALL if 'tin32' in n or 'cifar100' in n or 'digits' in n]
)
def test_recipes_hold_out_a_part_of_the_training_images(name, monkeypatch):
    monkeypatch.setenv('TIN32', 'none.npz')
    cfg = load(name)
    calibration, train, test = (
        per_image(cfg[f'{s}_dataloader']).dataset for s in ('calibration', 'train', 'test')
    )
    every = 2 if 'early-exit' in name else 5 if 'digits' in name else 10
    assert (calibration.hold_out_every, calibration.held_out) == (every, True)
    assert train.get('hold_out_every') == (None if every == 10 else every)
    assert calibration.split == train.split == 'train'
    assert calibration.pipeline == test.pipeline
