"""Data preprocessor that augments, normalizes and mixes batches."""

from numbers import Number
from typing import Any, Callable, List, Optional, Sequence, Union

import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from torch import Tensor

from mmrazor_byot.datasets import stack_images
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS, TRANSFORMS
from mmrazor_byot.structures import BatchSamples

Transform = Callable[[Tensor], Tensor]


@MODELS.register_module()
class BatchDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's data preprocessor with batch augmentations.

    It moves a batch to the device, applies ``transforms`` (in training), normalizes, and applies
    ``batch_augments`` (in training). :class:`BatchSamples` stay stacked. Batches with a list of
    ``DataSample`` work too; without ``transforms`` they are left to mmpretrain's code.

    Args:
        mean (Sequence[Number], optional): Mean of each channel. Defaults to None, no normalization.
        std (Sequence[Number], optional): Standard deviation of each channel. Defaults to None.
        transforms (Sequence[dict | Callable]): Batch transforms, called with images (N, 3, H, W)
            uint8, RGB unless the data set gives BGR and ``to_rgb`` is off. Defaults to ().
        **kwargs: ``to_rgb``, ``num_classes``, ``batch_augments`` (Mixup and CutMix) and so on, as
            in ``ClsDataPreprocessor``.

    Raises:
        ConfigError: A transform works on single images or does not exist, or ``batch_augments``
            are given without ``num_classes``.

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
        transforms: Sequence[Union[dict, Transform]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(mean=mean, std=std, **kwargs)
        if self.to_onehot and self.num_classes is None:
            raise ConfigError('BatchDataPreprocessor: to make scores of labels, set num_classes')
        self.transforms: List[Transform] = [_build_batch_transform(t) for t in transforms]

    def forward(self, data: dict, training: bool = False) -> dict:
        """Preprocess a batch, and augment it in training.

        ``inputs``, (N, 3, H, W) or a list of (3, H, W), become (N, 3, H, W) float on the device;
        ``data_samples`` become BatchSamples if ``transforms`` are applied.

        Raises:
            ConfigError: There are transforms, but the images are not uint8 or have no samples.
            DatasetError: There are transforms, but the images differ in size.
        """
        transforms = self.transforms if training else []
        inputs, samples = data['inputs'], data.get('data_samples')
        # A copy from a GPU to the CPU has to be complete before the CPU uses it.
        self._non_blocking = self.device.type != 'cpu'
        if not (transforms or isinstance(samples, BatchSamples)):
            if self._non_blocking and isinstance(samples, Sequence):
                self._copy_targets(samples)
            return super().forward(data, training)
        if samples is None:
            raise ConfigError('BatchDataPreprocessor: a batch to train on needs data_samples')
        inputs = inputs if isinstance(inputs, Tensor) else stack_images(inputs)
        images = inputs.to(self.device, non_blocking=self._non_blocking)
        samples = BatchSamples.of(samples).to(self.device, non_blocking=self._non_blocking)
        if self.to_rgb and images.size(1) == 3:
            images = images.flip(1)
        if transforms and images.dtype != torch.uint8:
            raise ConfigError(
                f'BatchDataPreprocessor: transforms take uint8 images, not {images.dtype}. '
                "Normalize with mean and std and mix with batch_augments, not in the data set's "
                'pipeline'
            )
        for transform in transforms:
            images = transform(images)
        images = images.float()
        if self._enable_normalize:
            images = (images - self.mean).div_(self.std)
        if self.pad_size_divisor > 1:
            height, width = images.shape[-2:]
            right, bottom = -width % self.pad_size_divisor, -height % self.pad_size_divisor
            images = F.pad(images, (0, right, 0, bottom), value=self.pad_value)

        scores = None
        if samples.has('gt_score'):
            scores = samples.gt_score
        elif self.to_onehot and samples.has('gt_label'):
            # F.one_hot would synchronize with the device.
            scores = torch.eye(self.num_classes, device=self.device)[samples.gt_label]
        if scores is not None:
            if training and self.batch_augments is not None:
                images, scores = self.batch_augments(images, scores)
            samples.set_fields(gt_score=scores)
        return dict(inputs=images, data_samples=samples)

    def _copy_targets(self, samples: Sequence) -> None:
        """Copy labels and scores to the device at once; mmpretrain's code would wait for it."""
        if not all(isinstance(sample, DataSample) for sample in samples):
            return
        for name in ('gt_label', 'gt_score'):
            if samples and all(name in sample for sample in samples):
                values = [getattr(sample, name) for sample in samples]
                copied = torch.cat(values).to(self.device, non_blocking=True)
                for sample, value in zip(samples, copied.split([len(v) for v in values])):
                    getattr(sample, f'set_{name}')(value)


def _build_batch_transform(cfg: Union[dict, Transform]) -> Transform:
    if isinstance(cfg, dict):
        try:
            transform: Transform = TRANSFORMS.build(cfg)
        except KeyError as e:
            raise ConfigError(
                f'BatchDataPreprocessor: there is no transform {cfg.get("type")!r}, or it cannot '
                f'be built (ours are written mmrazor_byot.BatchRandomCrop and so on): {e}'
            ) from e
    else:
        transform = cfg
    if isinstance(transform, BaseTransform):
        raise ConfigError(
            f'BatchDataPreprocessor: {type(transform).__name__} works on single images and belongs '
            'to the pipeline of a data set; use a batch transform, such as '
            'mmrazor_byot.BatchRandomCrop'
        )
    return transform
