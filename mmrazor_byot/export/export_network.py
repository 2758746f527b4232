"""Export a plain torch network with exits as one ONNX file."""

import copy
from functools import partial
from typing import Any, Iterator, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from mmrazor_byot.apis.model import class_names
from mmrazor_byot.apis.transform import read_transform
from mmrazor_byot.early_exit import PolicyFile
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation.collect import check_classes
from mmrazor_byot.exits import ExitNetwork
from mmrazor_byot.files import PathLike, atomic_path

from .recipe_images import random_images
from .write_export import CHECKED, QUANTIZED, Export, Source, choose_policy, write_export

#: Size of the batches.
BATCH = 64


def export_network(
    model: ExitNetwork,
    out: PathLike,
    transform: Any,
    policy: Optional[PolicyFile] = None,
    classes: Optional[Sequence[str]] = None,
    images: Optional[np.ndarray] = None,
    labels: Optional[np.ndarray] = None,
    exit_number: Optional[int] = None,
    int8: bool = False,
    all_scores: bool = False,
    license: str = 'not stated',
) -> Export:
    """Export a network of ``add_exits`` as one file, and check the file against torch.

    Args:
        model (ExitNetwork): The network.
        out (str | Path): File to write; an older one is replaced.
        transform (Callable): The transform of torchvision or timm that prepares test images, see
            :func:`~mmrazor_byot.apis.transform.read_transform`. The file does the same.
        policy (PolicyFile | str | Path, optional): What ``calibrate_network`` found, or its file.
            By default all exits are exported, and images run to the deepest unless the caller
            passes thresholds.
        classes (Sequence[str], optional): Names of the classes. Defaults to their numbers.
        images, labels (np.ndarray, optional): Test images of the network's input size, (M, H, W, 3)
            uint8 RGB, and their classes, (M,): the file then states its accuracy. Without images it
            is compared with torch on random ones.
        exit_number (int, optional): Export the network cut at this exit instead of a policy.
        int8 (bool): Quantize the network to 8 bits, calibrated on the images. Defaults to False.
        all_scores (bool): Also output the scores of every exit. Defaults to False.
        license (str): License of the weights.

    Raises:
        ByotError: The network cannot be exported with these arguments, or the file differs from
            torch. Nothing is written.
    """
    if model.input_size[0] != 3:
        raise ConfigError(f'images of {model.input_size[0]} channels; only 3 can be exported')
    _check_images(model, images, labels)
    if images is None and int8:
        raise ConfigError('int8=True is calibrated on real images: give images')
    read = read_transform(transform)
    prepare = read.preprocessing()
    with atomic_path(out) as temporary:
        count = QUANTIZED if int8 else CHECKED
        some = random_images(model.input_size, count) if images is None else images[:count]
        model = copy.deepcopy(model).cpu().eval()
        with torch.no_grad():
            inputs = (prepare(torch.from_numpy(part)) for part, _ in _batches(some, None))
            logits = [torch.stack(model(part), dim=1) for part in inputs]
        source = Source(
            name=type(model.net).__name__,
            prepare=prepare,
            resize=read.steps,
            classes=class_names(model, classes),
            images=some,
            logits=torch.cat(logits),
            test=None if labels is None or images is None else partial(_batches, images, labels),
            license=license,
        )
        chosen = choose_policy(model, policy, exit_number)
        everything = policy is None and exit_number is None
        return write_export(model, source, temporary, chosen, everything, int8, all_scores)


def _batches(images: np.ndarray, labels: Optional[np.ndarray]) -> Iterator[Tuple[Any, Tensor]]:
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        yield images[part], torch.as_tensor(() if labels is None else labels[part])


def _check_images(
    model: ExitNetwork, images: Optional[np.ndarray], labels: Optional[np.ndarray]
) -> None:
    size = (*model.input_size[1:], 3)
    if images is not None and (images.dtype != np.uint8 or images.shape[1:] != size):
        raise ConfigError(
            f'images are {images.dtype} {images.shape}; give uint8 (M, {size[0]}, {size[1]}, 3) RGB'
        )
    if labels is not None and (images is None or len(labels) != len(images)):
        raise ConfigError('labels: give one for each of the images')
    if labels is not None:
        check_classes(np.asarray(labels), model.num_classes)
