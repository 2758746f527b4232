"""mmpretrain's augmenting transforms, read as numbers."""

from enum import IntEnum
from typing import NamedTuple, Optional, Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmrazor_byot.errors import ConfigError

from .base import opencv_color, several


class Work(IntEnum):
    """Kinds of work, in the order of the images in a sorted batch.

    Images of one kind are worked on at once; those from INVERT to EQUALIZE
    together, by tables.
    """

    NOTHING = 0
    INVERT = 1
    SOLARIZE = 2
    SOLARIZE_ADD = 3
    POSTERIZE = 4
    BRIGHTNESS = 5
    CONTRAST = 6
    AUTOCONTRAST = 7
    EQUALIZE = 8
    COLOR = 9
    SHARPNESS = 10
    CUTOUT = 11
    NEAREST = 12
    LINEAR = 13
    CUBIC = 14
    CUBIC_X = 15
    CUBIC_Y = 16


class Op(NamedTuple):
    """One operation of a policy; or many, with arrays of their numbers.

    Its magnitude is ``level / total * (high - low) + low`` with a random
    level, see mmpretrain's ``BaseAugTransform``.
    """

    work: int
    prob: float = 1.0  # of doing it
    negative: float = 0.0  # chance to turn the magnitude negative
    low: float = 0.0
    high: float = 0.0
    level: float = 1.0
    total: float = 1.0
    std: float = 0.0  # of the level; inf: uniform from 0 to the level
    threshold: float = 0.0  # of SolarizeAdd
    hole_height: float = -1.0  # of Cutout; -1: the magnitude
    hole_width: float = -1.0
    # A warp: what the magnitude is multiplied with for ...
    turn: float = 0.0  # ... the angle in degrees,
    shear_x: float = 0.0  # ... the shift of x a row,
    shear_y: float = 0.0  # ... the shift of y a column,
    move_x: float = 0.0  # ... the shift of x, in widths,
    move_y: float = 0.0  # ... the shift of y, in heights.
    center_x: float = np.nan  # of a rotation; the middle if not a number
    center_y: float = np.nan
    scale: float = 1.0
    red: float = 0.0  # colour from outside or of a hole
    green: float = 0.0
    blue: float = 0.0


#: Where mmpretrain keeps the magnitude, and the kind of work.
_KNOWN = dict(
    AutoContrast=(None, Work.AUTOCONTRAST),
    Invert=(None, Work.INVERT),
    Equalize=(None, Work.EQUALIZE),
    Solarize=('thr', Work.SOLARIZE),
    SolarizeAdd=('magnitude', Work.SOLARIZE_ADD),
    Posterize=('bits', Work.POSTERIZE),
    Contrast=('magnitude', Work.CONTRAST),
    ColorTransform=('magnitude', Work.COLOR),
    Brightness=('magnitude', Work.BRIGHTNESS),
    Sharpness=('magnitude', Work.SHARPNESS),
    Cutout=('shape', Work.CUTOUT),
    Rotate=('angle', None),
    Shear=('magnitude', None),
    Translate=('magnitude', None),
)

#: cv2.warpAffine takes 'area' for 'bilinear'.
_SAMPLING = dict(nearest=Work.NEAREST, bilinear=Work.LINEAR, area=Work.LINEAR, bicubic=Work.CUBIC)


def read_op(transform: BaseTransform) -> Op:
    """What one of mmpretrain's augmenting transforms does.

    Args:
        transform (BaseTransform): A ``BaseAugTransform`` of
            ``mmpretrain.datasets``.

    Returns:
        Op: The same in numbers.

    Raises:
        ConfigError: It cannot be done in batches.
    """
    name = type(transform).__name__
    if name not in _KNOWN:
        raise ConfigError(f'{name} cannot be done in batches; these can: {", ".join(_KNOWN)}')
    key, work = _KNOWN[name]
    fixed = None if key is None else getattr(transform, key)
    settings = _magnitude(transform, fixed)
    if work is None:
        settings.update(_warp(name, transform))
    elif work == Work.CUTOUT:
        settings.update(_color(several(transform.pad_val, 3, 'pad_val')))
        if not np.isscalar(fixed or 0):
            settings.update(hole_height=fixed[0], hole_width=fixed[1])
    elif work == Work.SOLARIZE_ADD:
        settings.update(threshold=transform.thr)
    settings.setdefault('work', work)
    return Op(prob=transform.prob, negative=transform.random_negative_prob, **settings)


def sampling(interpolation: str, axis: Optional[str] = None) -> Work:
    """Kind of work of a warp.

    Args:
        interpolation (str): 'nearest', 'bilinear', 'area' or 'bicubic'.
        axis (str, optional): 'x' or 'y' if pixels move along this one only.

    Raises:
        ConfigError: It cannot be done in batches.
    """
    if interpolation not in _SAMPLING:
        raise ConfigError(
            f'interpolation={interpolation!r} cannot be done in batches; '
            f'these can: {", ".join(_SAMPLING)}'
        )
    work = _SAMPLING[interpolation]
    if work != Work.CUBIC or axis is None:
        return work
    return Work.CUBIC_X if axis == 'x' else Work.CUBIC_Y


def _magnitude(transform: BaseTransform, fixed) -> dict:
    if transform.magnitude_range is None or fixed is not None:
        value = fixed if fixed is not None and np.isscalar(fixed) else 0.0
        return dict(low=value, high=value)
    low, high = transform.magnitude_range
    return dict(
        low=low,
        high=high,
        level=transform.magnitude_level,
        total=transform.total_level,
        std=float(transform.magnitude_std),
    )


def _warp(name: str, transform: BaseTransform) -> dict:
    color = several(transform.pad_val, 3, 'pad_val')
    if name == 'Rotate':
        # mmcv.imrotate hands a single number on as it is.
        color = opencv_color(transform.pad_val, 'pad_val')
        x, y = transform.center or (np.nan, np.nan)
        return dict(
            work=sampling(transform.interpolation),
            turn=1.0,
            scale=transform.scale,
            center_x=x,
            center_y=y,
            **_color(color),
        )
    axis = 'y' if transform.direction == 'vertical' else 'x'
    verb = 'shear' if name == 'Shear' else 'move'
    return dict(
        {f'{verb}_{axis}': 1.0}, work=sampling(transform.interpolation, axis), **_color(color)
    )


def _color(value: Sequence[float]) -> dict:
    return dict(zip(('red', 'green', 'blue'), value))
