"""What methods are compared on: network, images and schedule."""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Optional

from mmengine.config import Config


@dataclass(frozen=True)
class Scale:
    """A network, its data and its schedule.

    Attributes:
        recipe: The BYOT recipe that all methods start from.
        options: Changes of it, as of ``--cfg-options``.
        schedule: A file of configs/_base_/schedules in the place of its own.
        teacher: What makes the backbone of the larger teacher.
        ema_changes: Of the strong recipe's moving average, where epochs have another number of
            iterations.
        packed: The environment variable that may name a packed image file, to be used in place of
            the recipe's own data set.
        hold_out_every: With ``--held-out`` every so many-th training image is kept from training,
            and tested on.
    """

    recipe: str
    options: dict = field(default_factory=dict)
    schedule: Optional[str] = None
    teacher: dict = field(default_factory=dict)
    ema_changes: dict = field(default_factory=dict)
    hold_out_every: int = 10
    packed: Optional[str] = None


ONE_PROCESS = {'train_dataloader.batch_size': 128, 'channels_last': True}
SMALL = Scale(
    'byot_resnet18-fast_2xb64_tin32-small.py',
    ONE_PROCESS,
    teacher=dict(stem_channels=24, base_channels=24),
    ema_changes=dict(momentum=0.01),
    # It trains on 150 of 500 images of a class, so half can be kept.
    hold_out_every=2,
)
CIFAR100 = Scale(
    'byot_resnet18-fast_1xb128_cifar100.py',
    ONE_PROCESS,
    teacher=dict(depth=50),
    packed='CIFAR100',
)
SCALES = {
    'small': SMALL,
    # As many epochs of twice as many steps, in mixed precision.
    'small-b64': replace(
        SMALL,
        options={
            **SMALL.options,
            'train_dataloader.batch_size': 64,
            'optim_wrapper.type': 'mmrazor_byot.AmpOptimWrapper',
        },
        ema_changes=dict(momentum=0.005),
    ),
    'cifar100': CIFAR100,
    'cifar100-60e': replace(CIFAR100, schedule='onecycle_60e.py'),
}


def hold_out_images(cfg: Config, every: int) -> None:
    """Train without every so many-th training image, and test on those.

    Args:
        cfg: Config with batched data; it is changed.
        every: The first of so many is held out.
    """
    images = cfg.train_dataloader.dataset.dataset
    images.hold_out_every = every
    held_out = {
        **cfg.val_dataloader.dataset.dataset,
        'split': 'train',
        'hold_out_every': every,
        'held_out': True,
    }
    for name in ('val_dataloader', 'test_dataloader'):
        cfg[name].dataset.dataset = deepcopy(held_out)


def evaluate_on_unused(cfg: Config) -> None:
    """Test on those of the training images that a part of them leaves.

    Args:
        cfg: Config with batched data; it is changed.

    Raises:
        SystemExit: It trains on all images.
    """
    images = cfg.train_dataloader.dataset.dataset
    if not images.get('samples_per_class'):
        raise SystemExit(
            'error: --unused: this scale trains on all images, none is left to test on'
        )
    cfg.test_dataloader.dataset.dataset.update(
        split=images.split, skip_per_class=images.samples_per_class
    )
