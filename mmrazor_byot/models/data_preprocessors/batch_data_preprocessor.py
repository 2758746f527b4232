"""Whole batches of images: augmented, normalised and mixed."""

from numbers import Number
from typing import Callable, Optional, Sequence, Union

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


@MODELS.register_module()
class BatchDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's preprocessor, with augmentations of whole batches.

    To the device, ``transforms`` (training only), normalisation, ``batch_augments`` (training
    only). It keeps :class:`BatchSamples` whole. Ordinary batches, with a list of ``DataSample``,
    are taken too: without ``transforms`` mmpretrain's own code does the work.

    Args:
        mean (Sequence[Number], optional): Of the channels. Defaults to None, no normalisation.
        std (Sequence[Number], optional): Of the channels.
        transforms (Sequence[dict | Callable]): Batch transforms: called with images (N, 3, H, W)
            uint8, RGB unless the data set gives BGR and ``to_rgb`` is off. Defaults to ().
        **kwargs: ``to_rgb``, ``num_classes``, ``batch_augments`` (Mixup and CutMix) and so on, as
            in ``ClsDataPreprocessor``.

    Raises:
        ConfigError: A transform works on single images or does not exist, or ``batch_augments``
            lack ``num_classes``.

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
        transforms: Sequence[Union[dict, Callable]] = (),
        **kwargs,
    ) -> None:
        super().__init__(mean=mean, std=std, **kwargs)
        if self.to_onehot and self.num_classes is None:
            raise ConfigError(
                'BatchDataPreprocessor: labels become scores of all classes; set num_classes'
            )
        self.transforms = [build_batch_transform(t) for t in transforms]
        if self.transforms and all(isinstance(t, BatchTransform) for t in self.transforms):
            # What all of them draw moves to the device in one copy.
            self.transforms = [BatchCompose(self.transforms)]

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data (dict): ``inputs``, (N, 3, H, W) or a list of (3, H, W), and ``data_samples``,
                :class:`BatchSamples` or a list.
            training (bool): Whether to augment. Defaults to False.

        Returns:
            dict: ``inputs`` (N, 3, H, W) float and ``data_samples``, on the device. They are
            BatchSamples if they were, or if ``transforms`` ran.

        Raises:
            ConfigError: There are transforms, and the images are not uint8.
            DatasetError: There are transforms, and images of several sizes.
        """
        transforms = self.transforms if training else ()
        inputs, samples = data['inputs'], data.get('data_samples')
        if not (transforms or isinstance(samples, BatchSamples)):
            return super().forward(data, training)
        if samples is None:
            raise ConfigError('BatchDataPreprocessor: a batch to train on needs data_samples')
        inputs = inputs if isinstance(inputs, Tensor) else stack_images(inputs)
        # What comes from the GPU must have come before it is read.
        non_blocking = self.device.type != 'cpu'
        images = inputs.to(self.device, non_blocking=non_blocking)
        samples = BatchSamples.of(samples).to(self.device, non_blocking=non_blocking)
        if self.to_rgb and images.size(1) == 3:
            images = images.flip(1)
        if transforms and images.dtype != torch.uint8:
            raise ConfigError(
                f'BatchDataPreprocessor: transforms take uint8 images, not {images.dtype}. Leave '
                'normalisation and Mixup to mean, std and batch_augments, and floats out of the '
                "data set's pipeline"
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
        return dict(zip(('inputs', 'data_samples'), self._mix(images, samples, training)))

    def _mix(self, images: Tensor, samples: BatchSamples, training: bool) -> tuple:
        """Scores in place of labels if asked for; in training they are mixed."""
        if samples.has('gt_score'):
            scores = samples.gt_score
        elif self.to_onehot and samples.has('gt_label'):
            # F.one_hot would wait for the device.
            scores = torch.eye(self.num_classes, device=self.device)[samples.gt_label]
        else:
            return images, samples
        if training and self.batch_augments is not None:
            images, scores = self.batch_augments(images, scores)
        return images, samples.set_fields(gt_score=scores)


def build_batch_transform(cfg: Union[dict, Callable]) -> Callable:
    """Build a batch transform.

    Args:
        cfg (dict | Callable): Its config, or itself.

    Raises:
        ConfigError: It works on single images, or there is none of the name.
    """
    try:
        transform = TRANSFORMS.build(cfg) if isinstance(cfg, dict) else cfg
    except KeyError as e:
        raise ConfigError(
            f'BatchDataPreprocessor: there is no transform {cfg.get("type")!r}, or it does not '
            f'build (ours are written mmrazor_byot.BatchRandomCrop and so on): {e}'
        ) from e
    if isinstance(transform, BaseTransform):
        raise ConfigError(
            f'BatchDataPreprocessor: {type(transform).__name__} works on single images and belongs '
            'to the pipeline of a data set; transforms here are of whole batches, such as '
            'mmrazor_byot.BatchRandomCrop'
        )
    return transform
