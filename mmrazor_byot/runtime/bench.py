"""Latency, throughput and accuracy of exported files, in turn with each other."""

from itertools import cycle
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import PathLike, list_images

from .images import read_image
from .metadata import Metadata
from .model import NEVER, EarlyExitModel
from .resize import prepare
from .timing import interleaved, summary

#: More image files than this are not read.
MOST_FILES = 1024


class Images(NamedTuple):
    """What is classified.

    Attributes:
        array (np.ndarray): (N, H, W, 3) uint8 RGB.
        labels (np.ndarray | None): Their classes (N,), if known.
        origin (str): What they are; empty for random pixels.
    """

    array: np.ndarray
    labels: Optional[np.ndarray]
    origin: str


def read_images(folder: PathLike, about: Metadata) -> Images:
    """Images of a folder; if each is in a folder named as its class, they are labelled.

    Raises:
        DatasetError: There are none, or one cannot be read.
    """
    files = list_images([folder])
    if len(files) > MOST_FILES:  # spread over all folders
        files = [files[i] for i in np.linspace(0, len(files) - 1, MOST_FILES).astype(int)]
    array = np.stack([prepare(read_image(f), about.resize, about.input_size) for f in files])
    numbers = {name: i for i, name in enumerate(about.classes)}
    labels = [numbers.get(Path(f).parent.name) for f in files]
    return Images(array, None if None in labels else np.array(labels), f'{len(files)} images')


def ways(model: EarlyExitModel, policy: bool) -> Dict[str, Optional[Sequence[float]]]:
    """The ways of running a file, with their thresholds.

    Args:
        model (EarlyExitModel): The file.
        policy (bool): Whether the policy is one of them.

    Returns:
        dict: ``'1/4'`` and so on, every exit at which all images stop, and ``'policy'``.
    """
    about = model.metadata
    single = len(about.exits) == 1
    found: Dict[str, Optional[Sequence[float]]] = {}
    if about.thresholds or single:
        for number in about.exit_numbers:
            found[f'{number}/{about.num_exits}'] = model.stop_at(number)
    if policy and not single and (not about.thresholds or min(about.thresholds) < NEVER):
        found['policy'] = None
    return found


def bench(
    models: Dict[str, EarlyExitModel], images: Images, batch: int, seconds: float
) -> List[dict]:
    """Time every exit and the policy of every file, in turn.

    Args:
        models (dict): Name of a file to its model.
        images (Images): To classify, batch after batch, over and over; a policy is timed if they
            are real.
        batch (int): Images of a call.
        seconds (float): How long each is timed.

    Returns:
        list[dict]: Rows with ``file``, ``what`` (of :func:`ways`), ``batch``, the numbers of
        :func:`summary` and ``ratio``: how many times as fast, in images a second, as the network
        cut at the deepest exit if a file is one, else as the deepest exit of the first file.

    Raises:
        ConfigError: ``batch`` or ``seconds`` is out of range.
    """
    if batch < 1 or seconds <= 0:
        raise ConfigError(f'batch={batch}, seconds={seconds}: both must be positive')
    calls: Dict[Tuple[str, str], Callable[[], object]] = {}
    for name, model in models.items():
        for what, thresholds in ways(model, bool(images.origin)).items():
            calls[name, what] = _call(model, thresholds, images.array, batch)
    if not calls:
        raise ConfigError('there is nothing to time: a policy without thresholds needs --images')
    times = {way: summary(spent, batch) for way, spent in interleaved(calls, seconds).items()}
    base = times[_baseline(models, list(times))]['images_per_s']
    return [
        dict(file=name, what=what, batch=batch, **row, ratio=row['images_per_s'] / base)
        for (name, what), row in times.items()
    ]


def measure_accuracy(model: EarlyExitModel, images: Images) -> Dict[str, dict]:
    """Top-1 of every way, and where its images stop.

    Args:
        model (EarlyExitModel): The file.
        images (Images): With labels, or without, which leaves ``top1`` out.

    Returns:
        dict: Of each of the :func:`ways` ``top1`` in percent and ``stops``, the fraction of images
        that stop at each exit of the file.
    """
    found = {}
    starts = range(0, len(images.array), 64)
    for what, thresholds in ways(model, True).items():
        results = [model(images.array[i : i + 64], thresholds) for i in starts]
        exits = np.concatenate([result.exits for result in results])
        row: dict = dict(stops=[float((exits == i).mean()) for i in model.metadata.exit_numbers])
        if images.labels is not None:
            answers = np.concatenate([result.scores.argmax(1) for result in results])
            row['top1'] = 100 * float((answers == images.labels).mean())
        found[what] = row
    return found


def exit_costs(models: Dict[str, EarlyExitModel], rows: Sequence[dict]) -> Optional[dict]:
    """What stopping at each exit costs, for tools/calibrate_exits.py.

    Args:
        models (dict): As of :func:`bench`; the first with all exits and thresholds is taken.
        rows (Sequence[dict]): What :func:`bench` found with batches of 1.

    Returns:
        dict | None: ``cumulative``, C numbers, the heads before an exit included; ``fixed``, C
        numbers, those of a network cut there if it was timed, else the same; ``unit``, ``'ms'``.
        None if no file has all exits.
    """
    for name, model in models.items():
        about = model.metadata
        exits = [f'{i + 1}/{about.num_exits}' for i in range(about.num_exits)]
        times = {row['what']: row['median_ms'] for row in rows if row['file'] == name}
        if len(exits) > 1 and times.keys() >= set(exits):
            cut = dict(times)
            for row in rows:
                other = models[row['file']].metadata
                if len(other.exits) == 1 and other.precision == about.precision:
                    cut[row['what']] = row['median_ms']
            cumulative, fixed = ([found[what] for what in exits] for found in (times, cut))
            return dict(cumulative=cumulative, fixed=fixed, unit='ms')
    return None


def _baseline(models: Dict[str, EarlyExitModel], timed: List[Tuple[str, str]]) -> Tuple[str, str]:
    """What has the ratio 1, see :func:`bench`."""
    for name, model in models.items():
        about = model.metadata
        if about.exit_numbers == [about.num_exits]:
            return name, f'{about.num_exits}/{about.num_exits}'
    first = [way for way in timed if way[0] == timed[0][0] and way[1] != 'policy']
    return first[-1] if first else timed[0]


def _call(
    model: EarlyExitModel, thresholds: Optional[Sequence[float]], array: np.ndarray, batch: int
) -> Callable[[], object]:
    """Classifies the next batch each time it is called."""
    starts = range(0, len(array), batch)
    batches = cycle([array.take(range(i, i + batch), axis=0, mode='wrap') for i in starts])
    return lambda: model(next(batches), thresholds)
