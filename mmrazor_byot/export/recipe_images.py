"""Images of a recipe as uint8 RGB, and their logits in torch."""

import copy
import warnings
from typing import Iterable, Iterator, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import DataLoader

from mmrazor_byot.calibration import calibration_loader
from mmrazor_byot.datasets import check_data, per_image, reads_bgr
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.launch import load_config
from mmrazor_byot.models.algorithms import BYOT
from mmrazor_byot.progress import track
from mmrazor_byot.structures import BatchSamples


def reference(
    cfg: Config, model: BYOT, count: int, random: bool = False
) -> Tuple[np.ndarray, Tensor]:
    """Training images and their logits in torch.

    Args:
        cfg (Config): The recipe.
        model (BYOT): The network in evaluation mode, on the CPU.
        count (int): At most this many images.
        random (bool): Use random pixels instead of images. Defaults to False.

    Returns:
        tuple: Images (N, H, W, 3) uint8 RGB, and the logits of every exit, (N, C, K) float32.

    Raises:
        ConfigError: There are no images, or their size is not the network's ``input_size``.
    """
    loader: Iterable[dict]
    if random:
        loader, settings = [_random_batch(model.input_size, count)], cfg.test_dataloader
    else:
        loader, settings = _training_loader(cfg)
    images, logits = [], []
    for batch in loader:
        images.append(rgb_images(batch, settings))
        with torch.no_grad():
            inputs = model.data_preprocessor(batch, False)['inputs']
            _check_size(inputs, images[-1], model)
            logits.append(torch.stack(list(model(inputs, mode='tensor')), dim=1))
        if sum(map(len, images)) >= count:
            break
    return np.concatenate(images)[:count], torch.cat(logits)[:count]


def labelled_batches(
    cfg: Config, classes: Optional[Sequence[str]] = None
) -> Iterator[Tuple[np.ndarray, Tensor]]:
    """Test images (N, H, W, 3) uint8 RGB and labels (N,) of a recipe, with a progress bar.

    If the network's classes are given, those of the data must be the same (DatasetError).
    """
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    check_data(loader, 'test_dataloader', trained=classes)
    for batch in track(loader, 'Test images'):
        labels = BatchSamples.of(batch['data_samples']).gt_label.cpu()
        yield rgb_images(batch, cfg.test_dataloader), labels


def first_images(config: str, count: int) -> Tuple[np.ndarray, np.ndarray]:
    """At most ``count`` test images (N, H, W, 3) uint8 RGB and labels (N,) of a config file.

    Raises:
        ConfigError: The file does not exist or does not parse.
    """
    images, labels = [], []
    for batch_images, batch_labels in labelled_batches(load_config(config)):
        images.append(batch_images)
        labels.append(batch_labels.numpy())
        if sum(map(len, images)) >= count:
            break
    return np.concatenate(images)[:count], np.concatenate(labels)[:count]


def rgb_images(batch: dict, settings: ConfigDict) -> np.ndarray:
    """The images of a batch before the data preprocessor.

    Args:
        batch (dict): A batch with ``inputs``, images (3, H, W) in the pipeline's channel order.
        settings (ConfigDict): Config of the data loader.

    Returns:
        np.ndarray: (N, H, W, 3) uint8 RGB.

    Raises:
        ConfigError: The images are not uint8, or differ in size.
    """
    inputs = batch['inputs']
    if any(x.dtype != torch.uint8 or x.shape != inputs[0].shape for x in inputs):
        raise ConfigError(
            'the pipeline does not give uint8 images of one size: end it with PackInputs, and '
            'normalize in the data_preprocessor'
        )
    images = torch.stack(list(inputs)).permute(0, 2, 3, 1).cpu().numpy()
    bgr = reads_bgr(per_image(settings).dataset.pipeline)
    return np.ascontiguousarray(images[..., ::-1] if bgr else images)


def _training_loader(cfg: Config) -> Tuple[DataLoader, ConfigDict]:
    """The held-out training images or, if there are none, all, with the pipeline of the test."""
    if cfg.get('calibration_dataloader'):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # images that were trained on serve here as well
            return calibration_loader(cfg), cfg.calibration_dataloader
    settings = copy.deepcopy(per_image(cfg.test_dataloader))
    dataset = copy.deepcopy(per_image(cfg.train_dataloader).dataset)
    dataset.pipeline = settings.dataset.pipeline
    settings.update(dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=True))
    return Runner.build_dataloader(settings, seed=0), settings


def random_images(size: Tuple[int, int, int], count: int) -> np.ndarray:
    """Random color gradients (N, H, W, C) uint8; all images of pixel noise get similar scores."""
    small = torch.rand(count, size[0], 4, 4, generator=torch.Generator().manual_seed(0)) * 255
    images = torch.nn.functional.interpolate(small, size[1:], mode='bilinear').byte()
    return images.permute(0, 2, 3, 1).contiguous().numpy()


def _random_batch(size: Tuple[int, int, int], count: int) -> dict:
    inputs = list(torch.from_numpy(random_images(size, count)).permute(0, 3, 1, 2))
    return dict(inputs=inputs, data_samples=[DataSample() for _ in inputs])


def _check_size(inputs: Tensor, images: np.ndarray, model: BYOT) -> None:
    expected = tuple(model.input_size)
    if inputs.shape[1:] != expected or images.shape[1:3] != expected[1:]:
        raise ConfigError(
            f'the recipe gives the network images of {tuple(inputs.shape[1:])}, its input_size is '
            f'{expected}: set --cfg-options model.input_size to what the test pipeline gives'
        )
