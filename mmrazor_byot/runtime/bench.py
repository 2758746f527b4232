"""Latency, throughput and accuracy of exported files, timed in turn."""

from itertools import cycle
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import PathLike, list_images

from .images import read_image
from .metadata import Metadata
from .model import NEVER, EarlyExitModel
from .resize import prepare
from .timing import interleaved, summary

#: At most this many image files are read.
MAX_FILES = 1024

Row = Dict[str, Any]
#: Name of a file to its model.
Models = Mapping[str, EarlyExitModel]


class Images(NamedTuple):
    """Images to classify.

    Attributes:
        array (np.ndarray): (N, H, W, 3) uint8 RGB.
        labels (np.ndarray | None): Their classes (N,), if known.
        origin (str): A description of their source; empty for random pixels.
    """

    array: np.ndarray
    labels: Optional[np.ndarray]
    origin: str


def read_images(folder: PathLike, metadata: Metadata) -> Images:
    """Read the images of a folder; they are labelled if each is in a folder named as its class.

    Raises:
        DatasetError: There are no images, or one cannot be read.
    """
    files = list_images([folder])
    if len(files) > MAX_FILES:  # evenly over all folders
        files = [files[i] for i in np.linspace(0, len(files) - 1, MAX_FILES).astype(int)]
    array = np.stack([prepare(read_image(f), metadata.resize, metadata.input_size) for f in files])
    class_to_label = {name: i for i, name in enumerate(metadata.classes)}
    labels = [class_to_label.get(Path(f).parent.name) for f in files]
    return Images(array, None if None in labels else np.array(labels), f'{len(files)} images')


def run_modes(model: EarlyExitModel, policy: bool) -> Dict[str, Optional[np.ndarray]]:
    """The modes in which a file can be run, with their thresholds.

    In ``'1/4'`` and so on all images stop at that exit. If asked for, ``'policy'`` has the
    thresholds of the file (None).
    """
    metadata = model.metadata
    single = len(metadata.exits) == 1
    modes: Dict[str, Optional[np.ndarray]] = {}
    if metadata.thresholds or single:
        for number in metadata.exit_numbers:
            modes[f'{number}/{metadata.num_exits}'] = model.stop_at(number)
    if policy and not single and (not metadata.thresholds or min(metadata.thresholds) < NEVER):
        modes['policy'] = None
    return modes


def bench(models: Models, images: Images, batch: int, seconds: float) -> List[Row]:
    """Time every exit and the policy of every file, in turn.

    Args:
        models (dict): Name of a file to its model.
        images (Images): Images to classify, batch after batch; policies are timed only if they are
            not random.
        batch (int): Images per call.
        seconds (float): Approximate time spent on each mode of each file.

    Returns:
        list[dict]: Rows with ``file``, ``what`` (the mode, see :func:`run_modes`), ``batch``, the
        numbers of :func:`summary` and ``ratio``: images per second divided by those of the network
        cut at the deepest exit if a file is one, else by those of the deepest exit of the first
        file.

    Raises:
        ConfigError: ``batch`` or ``seconds`` is out of range.
    """
    if batch < 1 or seconds <= 0:
        raise ConfigError(f'batch={batch}, seconds={seconds}: both must be positive')
    calls: Dict[Tuple[str, str], Callable[[], object]] = {}
    for name, model in models.items():
        for what, thresholds in run_modes(model, bool(images.origin)).items():
            calls[name, what] = _classify_next(model, thresholds, images.array, batch)
    if not calls:
        raise ConfigError('nothing to time: a policy without thresholds needs --images')
    timed = {key: summary(times, batch) for key, times in interleaved(calls, seconds).items()}
    baseline = timed[_baseline(models, list(timed))]['images_per_s']
    return [
        dict(file=name, what=what, batch=batch, **row, ratio=row['images_per_s'] / baseline)
        for (name, what), row in timed.items()
    ]


def measure_accuracy(model: EarlyExitModel, images: Images) -> Dict[str, Row]:
    """Accuracy of every mode, and where its images stop.

    Returns:
        dict: For each of the :func:`run_modes` ``stops``, the fraction of images that stop at each
        exit of the file, and, if the images have labels, ``top1`` in percent.
    """
    measured = {}
    starts = range(0, len(images.array), 64)
    for what, thresholds in run_modes(model, True).items():
        results = [model(images.array[i : i + 64], thresholds) for i in starts]
        exits = np.concatenate([result.exits for result in results])
        row: Row = dict(stops=[float((exits == i).mean()) for i in model.metadata.exit_numbers])
        if images.labels is not None:
            predicted = np.concatenate([result.scores.argmax(1) for result in results])
            row['top1'] = 100 * float((predicted == images.labels).mean())
        measured[what] = row
    return measured


def exit_costs(models: Models, rows: Sequence[Row]) -> Optional[Dict[str, Any]]:
    """The cost of stopping at each exit, for tools/calibrate_exits.py.

    Args:
        models (dict): Name of a file to its model; the first with all exits and thresholds counts.
        rows (Sequence[dict]): The result of :func:`bench` with ``batch=1``.

    Returns:
        dict | None: ``cumulative``, C numbers that include the heads of earlier exits; ``fixed``, C
        numbers of networks cut at each exit, taken from ``cumulative`` where none was timed;
        ``unit``, ``'ms'``. None if no file has all exits.
    """
    for name, model in models.items():
        metadata = model.metadata
        exits = [f'{i + 1}/{metadata.num_exits}' for i in range(metadata.num_exits)]
        times = {row['what']: row['median_ms'] for row in rows if row['file'] == name}
        if len(exits) > 1 and times.keys() >= set(exits):
            cut = dict(times)
            for row in rows:
                other = models[row['file']].metadata
                if len(other.exits) == 1 and other.precision == metadata.precision:
                    cut[row['what']] = row['median_ms']
            return dict(
                cumulative=[times[what] for what in exits],
                fixed=[cut[what] for what in exits],
                unit='ms',
            )
    return None


def _baseline(models: Models, timed: Sequence[Tuple[str, str]]) -> Tuple[str, str]:
    """The file and mode with the ratio 1, see :func:`bench`."""
    for name, model in models.items():
        metadata = model.metadata
        if metadata.exit_numbers == [metadata.num_exits]:
            return name, f'{metadata.num_exits}/{metadata.num_exits}'
    exits = [(name, what) for name, what in timed if name == timed[0][0] and what != 'policy']
    return exits[-1] if exits else timed[0]


def _classify_next(
    model: EarlyExitModel, thresholds: Optional[np.ndarray], array: np.ndarray, batch: int
) -> Callable[[], object]:
    """A function that classifies the next batch each time it is called."""
    starts = range(0, len(array), batch)
    batches = cycle([array.take(range(i, i + batch), axis=0, mode='wrap') for i in starts])
    return lambda: model(next(batches), thresholds)
