"""Images of a recipe, as files hold them, and what the network answers to them in torch."""

import copy
import warnings
from typing import Iterator, List, NamedTuple, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import DataLoader

from mmrazor_byot.calibration import calibration_loader
from mmrazor_byot.datasets import per_image, reads_bgr
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.launch import load_config
from mmrazor_byot.models.algorithms import BYOT
from mmrazor_byot.structures import BatchSamples


class Reference(NamedTuple):
    """Images and what torch makes of them.

    Attributes:
        images (np.ndarray): (N, H, W, 3) uint8 RGB.
        logits (Tensor): Of every exit, (N, C, K) float32.
    """

    images: np.ndarray
    logits: Tensor


def reference(cfg: Config, model: BYOT, count: int, random: bool = False) -> Reference:
    """Training images and the logits of torch, preprocessing included.

    Args:
        cfg (Config): The recipe.
        model (BYOT): For evaluation, on the CPU.
        count (int): How many images at most.
        random (bool): Draw the pixels instead of reading images. Defaults to False.

    Raises:
        ConfigError: No images, or they are not of the network's size.
    """
    if random:
        batches = _random_batches(cfg, model.input_size, count)
    else:
        batches = loader_batches(*_training_loader(cfg), count)
    images, logits = [], []
    for batch, pictures in batches:
        with torch.no_grad():
            inputs = model.data_preprocessor(batch, False)['inputs']
            _check_size(inputs, pictures, model)
            answers = model(inputs, mode='tensor')
        images.append(pictures)
        logits.append(torch.stack(list(answers), dim=1))
    return Reference(np.concatenate(images), torch.cat(logits))


def labelled_batches(cfg: Config) -> Tuple[int, Iterator[Tuple[np.ndarray, Tensor]]]:
    """The recipe's test images.

    Returns:
        tuple: Number of the batches; and the batches, images (N, H, W, 3) uint8 RGB and labels
        (N,).
    """
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    batches = (
        (images, BatchSamples.of(batch['data_samples']).gt_label.cpu())
        for batch, images in loader_batches(loader, cfg.test_dataloader)
    )
    return len(loader), batches


def first_images(config: str, count: int) -> Tuple[np.ndarray, np.ndarray]:
    """The first test images of a recipe.

    Args:
        config (str): The recipe's file.
        count (int): How many at most.

    Returns:
        tuple: Images (N, H, W, 3) uint8 RGB and labels (N,).

    Raises:
        ConfigError: The file does not exist or does not parse.
    """
    cfg = load_config(config)
    images, labels = [], []
    for pictures, numbers in labelled_batches(cfg)[1]:
        images.append(pictures)
        labels.append(numbers.numpy())
        if sum(map(len, images)) >= count:
            break
    return np.concatenate(images)[:count], np.concatenate(labels)[:count]


def loader_batches(
    loader: DataLoader, settings: dict, count: int = 1 << 62
) -> Iterator[Tuple[dict, np.ndarray]]:
    """Batches of a data loader, with their images as files hold them.

    Args:
        loader (DataLoader): Of the recipe.
        settings (dict): What it was built from.
        count (int): Stop after so many images. Defaults to all.

    Yields:
        tuple: The batch, ``inputs`` and ``data_samples``, and its images (N, H, W, 3) uint8 RGB.

    Raises:
        ConfigError: The pipeline changes the pixels' type.
    """
    bgr = reads_bgr(per_image(settings).dataset.pipeline)
    for batch in loader:
        if count <= 0:
            return
        batch = {name: batch[name][:count] for name in ('inputs', 'data_samples')}
        count -= len(batch['inputs'])
        yield batch, _pictures(batch['inputs'], bgr)


def _training_loader(cfg: Config) -> Tuple[DataLoader, dict]:
    """The held-out training images of a recipe, or if it holds none out, any, as in a test."""
    if cfg.get('calibration_dataloader'):
        with warnings.catch_warnings():
            # Ranges and differences may be seen on images that were trained on, too.
            warnings.simplefilter('ignore')
            return calibration_loader(cfg), cfg.calibration_dataloader
    settings = copy.deepcopy(per_image(cfg.test_dataloader))
    dataset = copy.deepcopy(per_image(cfg.train_dataloader).dataset)
    dataset.pipeline = settings.dataset.pipeline
    settings.update(dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=True))
    return Runner.build_dataloader(settings, seed=0), settings


def _random_batches(
    cfg: Config, size: Tuple[int, int, int], count: int
) -> Iterator[Tuple[dict, np.ndarray]]:
    generator = torch.Generator().manual_seed(0)
    bgr = reads_bgr(per_image(cfg.test_dataloader).dataset.pipeline)
    # Patches of colour, as pixels that are all noise look alike to a network.
    small = torch.rand(count, size[0], 4, 4, generator=generator) * 255
    inputs = list(torch.nn.functional.interpolate(small, size[1:], mode='bilinear').byte())
    samples = [DataSample() for _ in inputs]
    yield dict(inputs=inputs, data_samples=samples), _pictures(inputs, bgr)


def _pictures(inputs: List[Tensor], bgr: bool) -> np.ndarray:
    """Images (3, H, W) in the pipeline's order, as (N, H, W, 3) RGB."""
    if any(x.dtype != torch.uint8 or x.shape != inputs[0].shape for x in inputs):
        raise ConfigError(
            'the pipeline does not give uint8 images of one size: end it with PackInputs, and '
            'normalise in the data_preprocessor'
        )
    pictures = torch.stack(list(inputs)).permute(0, 2, 3, 1).cpu().numpy()
    return np.ascontiguousarray(pictures[..., ::-1] if bgr else pictures)


def _check_size(inputs: Tensor, pictures: np.ndarray, model: BYOT) -> None:
    expected = tuple(model.input_size)
    if inputs.shape[1:] != expected or pictures.shape[1:3] != expected[1:]:
        raise ConfigError(
            f'the recipe shows the network images of {tuple(inputs.shape[1:])}, its input_size is '
            f'{expected}: set --cfg-options model.input_size to what the test pipeline gives'
        )
