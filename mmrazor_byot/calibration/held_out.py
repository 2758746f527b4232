"""The images to calibrate on, which are not those of the test."""

import warnings

from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmrazor_byot.datasets import image_settings
from mmrazor_byot.errors import ByotWarning, ConfigError

#: Arguments that say how a split is read, or how much of it, but not which split.
NOT_OF_SPLIT = (
    'pipeline',
    'hold_out_every',
    'held_out',
    'num_classes',
    'skip_per_class',
    'samples_per_class',
    'test_mode',
    '_scope_',
)


def calibration_loader(cfg: Config) -> DataLoader:
    """Build a recipe's ``calibration_dataloader``, with a warning if it trains on its images.

    Raises:
        ConfigError: There is no such loader, or it reads the test images.
    """
    loader = cfg.get('calibration_dataloader')
    if loader is None:
        raise ConfigError(
            'the config has no calibration_dataloader. Give it one that reads labelled images '
            'which are in neither the training nor the test set, with the test pipeline'
        )
    test = cfg.get('test_dataloader')
    if test is not None and _overlap(loader.dataset, test.dataset):
        raise ConfigError(
            'calibration_dataloader reads the test images, so the test would be biased. Hold out '
            'training images'
        )
    train = cfg.get('train_dataloader')
    if train is not None and _overlap(loader.dataset, train.dataset):
        every = image_settings(loader.dataset).get('hold_out_every', 10)
        warnings.warn(
            'the config trains on the images that it calibrates on, on which the exits are too '
            'confident. Train with --cfg-options '
            f'train_dataloader.dataset.hold_out_every={every} and calibrate with the same option',
            ByotWarning,
            stacklevel=2,
        )
    return Runner.build_dataloader(loader, seed=0)


def _split(dataset: dict) -> dict:
    return {k: v for k, v in dataset.items() if k not in NOT_OF_SPLIT}


def _overlap(held_out: dict, other: dict) -> bool:
    """Whether both read one split, and not its held-out and its other images."""
    held_out, other = image_settings(held_out), image_settings(other)
    complement = held_out.get('hold_out_every') == other.get('hold_out_every') and (
        bool(held_out.get('held_out')) != bool(other.get('held_out'))
    )
    return _split(held_out) == _split(other) and not complement
