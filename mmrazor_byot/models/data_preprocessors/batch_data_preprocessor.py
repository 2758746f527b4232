"""Whole batches of images: augmented, normalised and mixed."""

from numbers import Number
from typing import Callable, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from mmpretrain.models import ClsDataPreprocessor
from torch import Tensor

from mmrazor_byot.datasets import stack_images
from mmrazor_byot.datasets.transforms import BatchCompose, BatchTransform
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS, TRANSFORMS
from mmrazor_byot.structures import BatchSamples

Transforms = Sequence[Union[dict, Callable]]


@MODELS.register_module()
class BatchDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's preprocessor, with augmentations of whole batches.

    To the device, ``transforms`` (training only), normalisation, ``mixes`` (training only). It
    keeps :class:`BatchSamples` whole. Ordinary batches, with a list of ``DataSample``, are taken
    too: where there is nothing to augment, mmpretrain's own code does the work.

    Args:
        mean (Sequence[Number], optional): Of the channels. Defaults to None, no normalisation.
        std (Sequence[Number], optional): Of the channels.
        transforms (Sequence[dict]): Batch transforms: called with images (N, 3, H, W) uint8, RGB
            unless the data set gives BGR and ``to_rgb`` is off. Defaults to ().
        mixes (Sequence[dict]): Batch mixes: called with images (N, 3, H, W) float, normalised, and
            scores (N, K). Need ``num_classes``. Defaults to ().
        **kwargs: ``to_rgb``, ``num_classes``, ``batch_augments`` and so on, as in
            ``ClsDataPreprocessor``.

    Raises:
        ConfigError: A transform works on single images or does not exist, or mixes lack
            ``num_classes``.

    Examples:
        >>> preprocessor = BatchDataPreprocessor(
        ...     mean=[0, 0, 0], std=[255, 255, 255])
        >>> data = preprocessor(dict(
        ...     inputs=torch.full((2, 3, 8, 8), 255, dtype=torch.uint8),
        ...     data_samples=BatchSamples(gt_label=torch.tensor([4, 2]))))
        >>> data['inputs'].unique(), data['data_samples'].gt_label
        (tensor([1.]), tensor([4, 2]))
    """

    def __init__(
        self,
        mean: Optional[Sequence[Number]] = None,
        std: Optional[Sequence[Number]] = None,
        transforms: Transforms = (),
        mixes: Transforms = (),
        **kwargs,
    ) -> None:
        super().__init__(mean=mean, std=std, **kwargs)
        if self._enable_normalize:  # they may have been given as int
            self.mean, self.std = self.mean.float(), self.std.float()
        self.transforms = [build_batch_transform(t) for t in transforms]
        if all(isinstance(t, BatchTransform) for t in self.transforms):
            # What all of them draw moves to the device in one copy.
            self.augment = BatchCompose(self.transforms)
        else:
            self.augment = self._one_by_one
        self.mixes = [build_batch_transform(m) for m in mixes]
        if (self.mixes or self.to_onehot) and self.num_classes is None:
            raise ConfigError(
                'BatchDataPreprocessor: labels are mixed as scores of all classes; set num_classes'
            )

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data (dict): ``inputs``, (N, 3, H, W) or a list of (3, H, W), and ``data_samples``,
                :class:`BatchSamples` or a list.
            training (bool): Whether to augment. Defaults to False.

        Returns:
            dict: ``inputs`` (N, 3, H, W) float and ``data_samples``, on the device. They are
            BatchSamples if they were, or were augmented.

        Raises:
            ConfigError: There are transforms, and the images are not uint8.
            DatasetError: There are transforms, and images of several sizes.
        """
        augmented = training and bool(self.transforms or self.mixes)
        if not (augmented or isinstance(data.get('data_samples'), BatchSamples)):
            return super().forward(data, training)
        inputs, samples = map(self._to_device, whole_batch(data))
        if self.to_rgb and inputs.size(1) == 3:
            inputs = inputs.flip(1)
        if training and self.transforms:
            inputs = self._transform(inputs)
        inputs = self._pad(self._normalise(inputs))
        if self.to_onehot or (training and self.mixes):
            inputs, samples = self._mix(inputs, samples, training)
        return dict(inputs=inputs, data_samples=samples)

    def _to_device(self, value):
        # What comes from the GPU must have come before it is read.
        return value.to(self.device, non_blocking=self.device.type != 'cpu')

    def _transform(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8:
            raise ConfigError(
                f'BatchDataPreprocessor: transforms take uint8 images, not {images.dtype}. Leave '
                "normalisation and Mixup to mean, std and mixes, and floats out of the data set's "
                'pipeline'
            )
        return self.augment(images)

    def _one_by_one(self, images: Tensor) -> Tensor:
        for transform in self.transforms:
            images = transform(images)
        return images

    def _normalise(self, images: Tensor) -> Tensor:
        """As mmpretrain's, bit for bit, with one pass over them less."""
        if images.is_floating_point() or not self._enable_normalize:
            images = images.float()
        if not self._enable_normalize:
            return images
        return torch.sub(images, self.mean).div_(self.std)

    def _pad(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        right, bottom = (-n % self.pad_size_divisor for n in (width, height))
        if not (right or bottom):
            return images
        return F.pad(images, (0, right, 0, bottom), value=self.pad_value)

    def _mix(
        self, images: Tensor, samples: BatchSamples, training: bool
    ) -> Tuple[Tensor, BatchSamples]:
        """Scores in the place of labels; in training they are mixed."""
        if samples.has('gt_score'):
            scores = samples.gt_score
        elif samples.has('gt_label'):
            scores = one_hot(samples.gt_label, self.num_classes)
        else:
            return images, samples
        if training and self.batch_augments is not None:
            images, scores = self.batch_augments(images, scores)
        for mix in self.mixes if training else ():
            images, scores = mix(images, scores)
        return images, samples.set_fields(gt_score=scores)


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Scores that say what the labels say; the device is not waited for.

    Args:
        labels (Tensor): Class indices, (N,).
        num_classes (int): K.

    Returns:
        Tensor: (N, K) float.
    """
    classes = torch.arange(num_classes, device=labels.device)
    return (labels[:, None] == classes).float()


def build_batch_transform(cfg: Union[dict, Callable]) -> Callable:
    """Build a batch transform or mix.

    Args:
        cfg (dict | Callable): Its config, or itself.

    Raises:
        ConfigError: It works on single images, or there is none of the name.
    """
    kind = type(cfg)
    if isinstance(cfg, dict):
        with TRANSFORMS.switch_scope_and_registry(None) as registry:
            name = cfg.get('type')
            kind = registry.get(name) if isinstance(name, str) else name
        if kind is None:
            raise ConfigError(
                f'BatchDataPreprocessor: there is no transform {name!r} (ours are written '
                'mmrazor_byot.BatchRandomCrop and so on)'
            )
    if isinstance(kind, type) and issubclass(kind, BaseTransform):
        raise ConfigError(
            f'BatchDataPreprocessor: {kind.__name__} works on single images and belongs to the '
            'pipeline of a data set; transforms here are of whole batches, such as '
            'mmrazor_byot.BatchRandomCrop'
        )
    return TRANSFORMS.build(cfg) if isinstance(cfg, dict) else cfg


def whole_batch(data: dict) -> Tuple[Tensor, BatchSamples]:
    """Images (N, 3, H, W) and samples of a batch of whatever kind.

    Args:
        data (dict): ``inputs`` and ``data_samples``.

    Raises:
        ConfigError: There are no samples.
        DatasetError: The images are of several sizes.
    """
    inputs, samples = data['inputs'], data.get('data_samples')
    if samples is None:
        raise ConfigError('BatchDataPreprocessor: a batch to train on needs data_samples')
    if not isinstance(inputs, Tensor):
        inputs = stack_images(inputs)
    return inputs, BatchSamples.of(samples)
