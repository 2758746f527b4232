"""Latency and throughput of an exported network. No torch here."""

import json
import os
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Sequence, Union

import numpy as np

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.policies import ExitPolicy

from .deployed_network import DeployedNetwork
from .images import load_images
from .timing import interleaved, summary

ENDINGS = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.webp')
#: More image files than this are not read.
MOST_FILES = 1024


class Images(NamedTuple):
    """What is classified.

    Attributes:
        array (np.ndarray): (N, H, W, 3) uint8 RGB.
        origin (str): What they are.
        real (bool): Whether a policy leaves early on them as in use.
    """

    array: np.ndarray
    origin: str
    real: bool


def random_images(network: DeployedNetwork, count: int = 64) -> Images:
    """Random pixels: enough for exits that are fixed."""
    shape = (count, *network.input_size, 3)
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return Images(array, 'random pixels', False)


def read_images(path: Union[str, Path], network: DeployedNetwork) -> Images:
    """Images of a folder, its subfolders included, or of a NumPy file.

    Args:
        path (str | Path): A folder, one image file, or ``.npy`` or ``.npz``
            with a uint8 array (N, H, W, 3) in RGB order.
        network (DeployedNetwork): What they are for.

    Raises:
        DatasetError: There are none, or not of the network's size.
    """
    path = Path(path)
    if path.suffix in ('.npy', '.npz'):
        array = _read_array(path)
        shape = (*network.input_size, 3)
        if array.dtype != np.uint8 or array.shape[1:] != shape or not len(array):
            raise DatasetError(
                f'"{path}" holds {array.dtype} {array.shape}; the network '
                f'takes uint8 (N, {shape[0]}, {shape[1]}, 3)'
            )
        return Images(array, f'{len(array)} images of {path.name}', True)
    files = (
        sorted(p for p in path.rglob('*') if p.suffix.lower() in ENDINGS)
        if path.is_dir()
        else [path]
    )
    if not files:
        raise DatasetError(f'"{path}" holds no images ({", ".join(ENDINGS)})')
    array = load_images(files[:MOST_FILES], network.manifest.resize, network.input_size)
    return Images(array, f'{len(array)} images of {path.name}', True)


def _read_array(path: Path) -> np.ndarray:
    try:
        with (
            np.load(path, allow_pickle=False)
            if path.suffix == '.npz'
            else open(path, 'rb') as source
        ):
            if path.suffix == '.npy':
                return np.load(source, allow_pickle=False)
            for name in source.files:
                if source[name].ndim == 4:
                    return source[name]
    except (OSError, ValueError, EOFError) as e:
        raise DatasetError(f'"{path}" cannot be read: {e}') from e
    raise DatasetError(f'"{path}" has no array (N, H, W, 3)')


def bench(
    networks: Sequence[DeployedNetwork],
    images: Images,
    batch: int,
    seconds: float,
    policy: Optional[ExitPolicy] = None,
) -> List[dict]:
    """Time every exit, and a policy, in every precision, in turn.

    An exit is the model cut there, images to logits; a policy runs stage by
    stage, images to probabilities.

    Args:
        networks (Sequence[DeployedNetwork]): In their precisions, fp32
            first.
        images (Images): To classify, batch behind batch, over and over.
        batch (int): Images of a call.
        seconds (float): How long each is timed.
        policy (ExitPolicy, optional): Timed too, stage by stage.

    Returns:
        list[dict]: Rows with ``precision``, ``what`` (``'1/4'`` …
        ``'policy'``), the numbers of :func:`summary`, and against the
        deepest exit of the first precision ``median_ratio`` and
        ``throughput_ratio``, above 1 where this is faster.

    Raises:
        ConfigError: ``batch`` or ``seconds`` is out of range, or a policy is
            to be timed on images that are not real.
    """
    if batch < 1 or seconds <= 0:
        raise ConfigError(f'batch={batch}, seconds={seconds}: both must be positive')
    if policy is not None and not images.real:
        raise ConfigError(
            'how early a policy stops depends on the images: give real ones by --images or --config'
        )
    calls = {}
    for network in networks:
        for number in range(1, network.num_exits + 1):
            calls[network.precision, f'{number}/{network.num_exits}'] = _call(
                partial(network.exit_logits, number), images.array, batch
            )
        if policy is not None:
            network.warm_up(policy, batch)
            calls[network.precision, 'policy'] = _call(
                partial(network.run, policy=policy), images.array, batch
            )
    times = interleaved(calls, seconds)
    count = networks[0].num_exits
    deepest = summary(times[networks[0].precision, f'{count}/{count}'], batch)
    rows = []
    for (precision, what), spent in times.items():
        row = summary(spent, batch)
        rows.append(
            dict(
                precision=precision,
                what=what,
                batch=batch,
                threads=networks[0].threads,
                **row,
                median_ratio=deepest['median_ms'] / row['median_ms'],
                throughput_ratio=row['images_per_s'] / deepest['images_per_s'],
            )
        )
    return rows


def exit_shares(network: DeployedNetwork, images: Images, policy: ExitPolicy) -> List[float]:
    """At which exits the images leave.

    Returns:
        list[float]: Their share at exit 1 to C.
    """
    exits = np.concatenate(
        [
            network.run(images.array[i : i + 64], policy).exits
            for i in range(0, len(images.array), 64)
        ]
    )
    return [float((exits == number).mean()) for number in range(1, network.num_exits + 1)]


def _call(
    classify: Callable[[np.ndarray], object], array: np.ndarray, batch: int
) -> Callable[[], object]:
    """Classifies the next batch each time it is called."""
    starts = range(0, len(array), batch)
    batches = cycle(
        [
            array[i : i + batch]
            if i + batch <= len(array)
            else array.take(range(i, i + batch), axis=0, mode='wrap')
            for i in starts
        ]
    )
    return lambda: classify(next(batches))


def write_json(path: Union[str, Path], content: dict) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        with open(temporary, 'w', encoding='utf-8') as f:
            f.write(json.dumps(content, indent=2) + '\n')
        os.replace(temporary, path)
    except OSError as e:
        raise ConfigError(f'cannot write {path}: {e.strerror or e}') from e
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
