"""What is calibrated on is neither tested on nor, if told so, trained on."""

import warnings

import numpy as np
import pytest
import torch
from mmengine.config import Config
from recipes import ALL, load

from mmrazor_byot.calibration import calibration_loader
from mmrazor_byot.datasets import per_image
from mmrazor_byot.errors import ConfigError, DatasetError

DIGITS = 'byot_resnet18_2xb64_digits'
FAST = 'byot_resnet18-fast_2xb64_digits'
WARNS = 'the config trains on the images that it calibrates on'


def trained_on_everything(name):
    """A recipe of the digits that holds nothing out, and calibrates on every tenth image."""
    cfg = load(name)
    del cfg.train_dataloader.dataset['hold_out_every']
    cfg.calibration_dataloader.dataset.hold_out_every = 10
    return cfg


@pytest.fixture
def digits():
    return trained_on_everything(DIGITS)


@pytest.fixture
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        yield


def images(dataset):
    return {image.tobytes() for image in dataset.images}


def test_images_that_were_held_out(digits, no_warning):
    digits.train_dataloader.dataset.hold_out_every = 10
    dataset = calibration_loader(digits).dataset
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


def test_loader_keeps_the_order(digits):
    loader = calibration_loader(digits)
    labels = [s.gt_label.item() for batch in loader for s in batch['data_samples']]
    assert labels == loader.dataset.labels.tolist()


@pytest.mark.parametrize('every', [10, 7])
def test_images_that_were_trained_on(digits, every):
    digits.calibration_dataloader.dataset.hold_out_every = every
    with pytest.warns(
        UserWarning,
        match=f'{WARNS}.*--cfg-options train_dataloader.dataset.hold_out_every={every} ',
    ):
        assert len(calibration_loader(digits).dataset) > 100


@pytest.mark.parametrize(
    'train',
    [
        dict(hold_out_every=5),
        dict(hold_out_every=10, held_out=True),
        dict(samples_per_class=50),
        dict(num_classes=5),
    ],
)
def test_other_images_held_out_than_calibrated_on(digits, train):
    digits.train_dataloader.dataset.update(train)
    with pytest.warns(UserWarning, match=WARNS):
        calibration_loader(digits)


@pytest.mark.parametrize('train', [dict(samples_per_class=50), dict(num_classes=5)])
def test_fewer_images_to_train_on(digits, train, no_warning):
    """What is held out of all images is held out of the first ones."""
    digits.train_dataloader.dataset.update(hold_out_every=10, **train)
    held_out = calibration_loader(digits).dataset
    trained = type(held_out)(hold_out_every=10, **train)
    assert len(held_out) == 116 and len(trained) > 400
    assert not images(held_out) & images(trained)


def test_the_pipeline_makes_no_other_images(digits):
    calibration, train = (digits[f'{s}_dataloader'].dataset for s in ('calibration', 'train'))
    assert calibration.pipeline != train.pipeline
    calibration.hold_out_every = None
    calibration.held_out = False
    with pytest.warns(UserWarning, match=WARNS):
        assert len(calibration_loader(digits).dataset) == 1198


def test_no_loader(digits):
    digits.pop('calibration_dataloader')
    with pytest.raises(ConfigError, match='^the config has no calibration_dataloader. '):
        calibration_loader(digits)


@pytest.mark.parametrize(
    'change',
    [
        dict(),
        dict(pipeline=[dict(type='RandomFlip'), dict(type='PackInputs')]),
        dict(test_mode=True),
    ],
)
def test_the_test_images(digits, change):
    digits.calibration_dataloader = digits.test_dataloader.copy()
    digits.calibration_dataloader.dataset = {**digits.test_dataloader.dataset, **change}
    with pytest.raises(ConfigError, match='^calibration_dataloader reads the test images'):
        calibration_loader(digits)


def test_test_images_held_out_from_the_test(digits, no_warning):
    """Every tenth of each digit, of which there are about 60."""
    digits.calibration_dataloader.dataset.split = 'test'
    digits.test_dataloader.dataset.hold_out_every = 10
    assert len(calibration_loader(digits).dataset) == 57


@pytest.mark.parametrize('every', [None, 5])
def test_test_images_that_are_tested_on_too(digits, every):
    """A tenth of the test images is no less theirs than all of them."""
    digits.calibration_dataloader.dataset.split = 'test'
    digits.test_dataloader.dataset.hold_out_every = every
    with pytest.raises(ConfigError, match='^calibration_dataloader reads the test images'):
        calibration_loader(digits)


def test_nothing_but_a_calibration_loader(no_warning):
    """A config may name no other data."""
    cfg = Config(dict(calibration_dataloader=load(DIGITS).calibration_dataloader))
    assert len(calibration_loader(cfg).dataset) == 236  # of each digit every fifth


def test_errors_of_the_data_come_through(digits):
    digits.calibration_dataloader.dataset.hold_out_every = 1
    with pytest.raises(DatasetError, match='hold_out_every=1; at least 2'):
        calibration_loader(digits)


@pytest.mark.parametrize('held_out', [dict(), dict(hold_out_every=5)])
def test_whole_batches_of_held_out_images(digits, held_out):
    fast = load(FAST)
    fast.train_dataloader.dataset.dataset.pop('hold_out_every')
    fast.calibration_dataloader.dataset.dataset.hold_out_every = 10
    for cfg in (digits, fast):
        cfg.calibration_dataloader.dataset.update(held_out)
    found = []
    for train in (digits, fast):
        cfg = Config(dict(fast, train_dataloader=train.train_dataloader))
        every = held_out.get('hold_out_every', 10)
        with pytest.warns(
            UserWarning,
            match=f'{WARNS}.*--cfg-options train_dataloader.dataset.hold_out_every={every} ',
        ):
            found.append(calibration_loader(cfg))
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        cfg.train_dataloader.dataset.hold_out_every = every
        found.append(calibration_loader(cfg))
    digits.pop('train_dataloader')
    expected = calibration_loader(digits).dataset
    assert len(expected) == sum(len(f.dataset) for f in found) / 3
    for loader in found:
        images = [batch['inputs'] for batch in loader]
        assert np.array_equal(torch.cat(images).permute(0, 2, 3, 1), expected.images)
        labels = [batch['data_samples'].gt_label for batch in loader]
        assert torch.cat(labels).tolist() == expected.labels.tolist()


@pytest.mark.parametrize('tested', [DIGITS, FAST])
def test_the_test_images_in_whole_batches(tested):
    cfg = load(FAST)
    cfg.calibration_dataloader = cfg.test_dataloader.copy()
    cfg.test_dataloader = load(tested).test_dataloader
    with pytest.raises(ConfigError, match='^calibration_dataloader reads the test images'):
        calibration_loader(cfg)


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
