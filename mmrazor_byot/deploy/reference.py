"""What torch answers on some images: the measure of an exported network."""

import warnings
from argparse import Namespace
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
from mmrazor_byot.datasets import per_image
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.inference.channels import reads_bgr
from mmrazor_byot.launch import load_config
from mmrazor_byot.models.algorithms import BYOT


class Reference(NamedTuple):
    """Images and what torch makes of them.

    Attributes:
        images (np.ndarray): (N, H, W, 3) uint8 RGB.
        logits (np.ndarray): Of every exit, (C, N, K) float32.
        origin (str): What the images are.
    """

    images: np.ndarray
    logits: np.ndarray
    origin: str


def reference(cfg: Config, model: BYOT, count: int, random: bool = False) -> Reference:
    """Answer with torch, preprocessing included.

    Args:
        cfg (Config): The recipe.
        model (BYOT): For evaluation, on the CPU.
        count (int): How many images at most.
        random (bool): Draw the pixels instead of reading the recipe's
            calibration images. Defaults to False.

    Raises:
        ConfigError: No images, or they are not of the network's size.
        DatasetError: The calibration images cannot be read.
    """
    if count < 1:
        raise ConfigError(f'--images {count}: at least 1')
    if random:
        origin = 'random pixels'
        batches = _random_batches(cfg, model.input_size, count)
    else:
        origin = 'calibration images'
        batches = _calibration_batches(cfg, count)
    images, logits = [], []
    try:
        for batch, pictures in batches:
            with torch.no_grad():
                inputs = model.data_preprocessor(batch, False)['inputs']
                _check_size(inputs, pictures, model)
                answers = model(inputs, mode='tensor')
            images.append(pictures)
            logits.append(torch.stack(answers).numpy())
    except FileNotFoundError as e:
        raise DatasetError(
            f'the calibration images cannot be read ({e}); --random-images does without them'
        ) from e
    return Reference(np.concatenate(images), np.concatenate(logits, axis=1), origin)


def loader_batches(
    loader: DataLoader, settings: dict, count: int
) -> Iterator[Tuple[dict, np.ndarray]]:
    """Batches of a data loader, with their images as files hold them.

    Args:
        loader (DataLoader): Of the recipe.
        settings (dict): What it was built from.
        count (int): Stop behind so many images.

    Yields:
        tuple: The batch, ``inputs`` and ``data_samples``, and its images
        (N, H, W, 3) uint8 RGB.

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


def test_images(config: str, count: int) -> np.ndarray:
    """The first test images of a recipe.

    Args:
        config (str): The recipe's file.
        count (int): How many at most.

    Returns:
        np.ndarray: (N, H, W, 3) uint8 RGB.

    Raises:
        ConfigError: The file does not exist or does not parse.
    """
    cfg = load_config(Namespace(config=config, cfg_options=None))
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    return np.concatenate(
        [images for _, images in loader_batches(loader, cfg.test_dataloader, count)]
    )


def _calibration_batches(cfg: Config, count: int) -> Iterator[Tuple[dict, np.ndarray]]:
    with warnings.catch_warnings():
        # Ranges and differences may be seen on training images too.
        warnings.simplefilter('ignore')
        loader = calibration_loader(cfg)
    yield from loader_batches(loader, cfg.calibration_dataloader, count)


def _random_batches(
    cfg: Config, size: Tuple[int, int, int], count: int
) -> Iterator[Tuple[dict, np.ndarray]]:
    generator = torch.Generator().manual_seed(0)
    inputs = list(torch.randint(256, (count, *size), dtype=torch.uint8, generator=generator))
    bgr = reads_bgr(per_image(cfg.test_dataloader).dataset.pipeline)
    samples = [DataSample() for _ in inputs]
    yield dict(inputs=inputs, data_samples=samples), _pictures(inputs, bgr)


def _pictures(inputs: List[Tensor], bgr: bool) -> np.ndarray:
    """Images (3, H, W) in the pipeline's order, as (N, H, W, 3) RGB."""
    if any(x.dtype != torch.uint8 or x.shape != inputs[0].shape for x in inputs):
        raise ConfigError(
            'the pipeline does not give uint8 images of one '
            'size: end it with PackInputs, and normalise in '
            'the data_preprocessor'
        )
    pictures = torch.stack(list(inputs)).permute(0, 2, 3, 1).cpu().numpy()
    return np.ascontiguousarray(pictures[..., ::-1] if bgr else pictures)


def _check_size(inputs: Tensor, pictures: np.ndarray, model: BYOT) -> None:
    expected = tuple(model.input_size)
    if inputs.shape[1:] != expected or pictures.shape[1:3] != expected[1:]:
        raise ConfigError(
            f'the recipe shows the network images of '
            f'{tuple(inputs.shape[1:])}, its input_size is {expected}: set '
            '--cfg-options model.input_size to what the test pipeline gives'
        )
