"""An exported early-exit network in ONNX Runtime."""

import os
import time
from types import ModuleType
from typing import Any, List, NamedTuple, Optional, Sequence, Union

import numpy as np

from mmrazor_byot.errors import ConfigError, DeployError
from mmrazor_byot.files import PathLike

from .metadata import Metadata, read_verified
from .results import ExitResult, exit_result

#: One confidence at which images exit, or one for each exit but the last.
Thresholds = Union[float, Sequence[float], np.ndarray]
#: A threshold above every confidence: no image stops.
NEVER = 2.0
MAX_THREADS = max(64, os.cpu_count() or 1)


class Result(NamedTuple):
    """The predictions for a batch.

    Attributes:
        scores (np.ndarray): Probabilities (N, K), float32.
        exits (np.ndarray): The exits at which the images stopped, from 1, (N,) int64.
        exit_scores (np.ndarray | None): Probabilities of every exit (N, C, K), NaN for exits that
            were not reached. None unless the file was exported with ``--all-scores``.
    """

    scores: np.ndarray
    exits: np.ndarray
    exit_scores: Optional[np.ndarray] = None


class EarlyExitModel:
    """An exported network.

    Args:
        path (str | Path): A file written by tools/deploy/export_onnx.py.
        threads (int, optional): Threads of ONNX Runtime. Defaults to one per core.

    Raises:
        DeployError: The file is damaged, or the installed onnxruntime cannot load it.
        ConfigError: ``threads`` is out of range.

    Examples:
        >>> model = EarlyExitModel('model.onnx')
        >>> model.classify('three.png')
        [<3 (99.8 %), left at exit 1/4, 0.24 ms>]
        >>> images = np.zeros((2, *model.metadata.input_size, 3), np.uint8)
        >>> scores, exits, _ = model(images)
    """

    def __init__(self, path: PathLike, threads: Optional[int] = None) -> None:
        if threads is not None and not 1 <= threads <= MAX_THREADS:
            raise ConfigError(f'threads={threads}: must be from 1 to {MAX_THREADS}')
        data = read_verified(path)
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3  # errors, which are raised as well
        try:
            self._session = onnxruntime.InferenceSession(
                data, options, providers=['CPUExecutionProvider']
            )
        except Exception as e:  # onnxruntime's errors have no common base
            raise DeployError(
                f'onnxruntime {onnxruntime.__version__} cannot load "{path}" '
                f'({" ".join(str(e).split())[:200]}); install a newer onnxruntime'
            ) from e
        props = self._session.get_modelmeta().custom_metadata_map
        self.metadata = Metadata.from_props(props, path)
        self._takes_thresholds = len(self._session.get_inputs()) == 2
        self._shape = (*self.metadata.input_size, 3)
        self._thresholds = np.array(self.metadata.thresholds, np.float32)
        self._is_warm = False

    def __call__(self, images: np.ndarray, thresholds: Optional[Thresholds] = None) -> Result:
        """Classify a batch; each image stops at the first exit that is confident enough.

        Args:
            images (np.ndarray): (N, H, W, 3) uint8 RGB.
            thresholds (float | Sequence[float], optional): Certainty from 0 to 1 at which an image
                exits, one for all exits or one for each but the last. All images stop at 0, none
                above 1. Defaults to those of the file.

        Raises:
            ConfigError: Images or thresholds do not fit the network.
            DeployError: An exit answers with NaN.
        """
        self._check_images(images)
        feed = dict(image=images)
        if self._takes_thresholds:
            feed['thresholds'] = (
                self._thresholds if thresholds is None else self._check_thresholds(thresholds)
            )
        elif thresholds is not None:
            raise ConfigError(
                f'thresholds={thresholds}: this network takes none, its policy is '
                f'{self.metadata.policy["type"]}'
            )
        result = Result(*self._session.run(None, feed))
        wrong = np.isnan(result.scores).any(axis=1)
        if wrong.any():
            raise DeployError(
                f'exit {result.exits[wrong][0]} answers with NaN for {wrong.sum()} of {len(wrong)} '
                'images: export a checkpoint with finite weights'
            )
        return result

    def classify(
        self,
        inputs: Any,
        thresholds: Optional[Thresholds] = None,
        channel_order: Optional[str] = None,
        max_pixels: Optional[int] = None,
    ) -> List[ExitResult]:
        """Read images, bring them to the input size of the network, and classify them one by one.

        Args:
            inputs, channel_order: See :func:`mmrazor_byot.runtime.images.list_sources`.
            thresholds: As for :meth:`__call__`.
            max_pixels (int, optional): Larger images are refused. Defaults to 100 million pixels.

        Returns:
            list[ExitResult]: As those of ``ByotInferencer``, but that ``exits`` has the exit taken
            alone, unless the file was exported with ``--all-scores``. ``time_ms`` is the time of
            the network.

        Raises:
            DatasetError: An image is missing, truncated or not supported.
            ConfigError: Thresholds, channel order or ``max_pixels`` are wrong.
            DeployError: An exit answers with NaN, or Pillow is not installed.
        """
        from .images import MAX_PIXELS, list_sources, read_image  # they need Pillow, the rest not
        from .resize import prepare

        about, results = self.metadata, []
        limit = MAX_PIXELS if max_pixels is None else max_pixels
        if type(limit) is not int or limit < 1:
            raise ConfigError(f'max_pixels={max_pixels!r}: give a positive integer')
        if not self._is_warm:
            self.warm_up()
        for i, source in enumerate(list_sources(inputs, channel_order)):
            image = read_image(source, limit, name=f'image {i}')
            image = np.ascontiguousarray(prepare(image, about.resize, about.input_size))
            start = time.perf_counter()
            (scores,), (exit_number,), all_scores = self(image[None], thresholds)
            time_ms = 1000 * (time.perf_counter() - start)
            exit_scores = np.full((about.num_exits, about.num_classes), np.nan, np.float32)
            exit_scores[exit_number - 1] = scores
            if all_scores is not None:
                exit_scores = all_scores[0]
            ensemble = bool(about.policy.get('ensemble'))
            result = exit_result(
                scores, exit_scores, about.classes, int(exit_number), ensemble, time_ms
            )
            result.keep_image(source, limit)
            results.append(result)
        return results

    def stop_at(self, exit_number: int) -> Optional[np.ndarray]:
        """The thresholds with which all images stop at one exit; None if it is the only one.

        Args:
            exit_number (int): Number of the exit, from 1.

        Raises:
            ConfigError: The graph does not have this exit, or takes no thresholds.
        """
        numbers = self.metadata.exit_numbers
        if exit_number not in numbers:
            raise ConfigError(f'exit {exit_number}: the file has the exits {numbers}')
        if len(numbers) == 1:
            return None
        if not self._takes_thresholds:
            raise ConfigError(
                f'exit {exit_number}: a network with {self.metadata.policy["type"]} takes no '
                f'thresholds; export it with --exit {exit_number}'
            )
        index = numbers.index(exit_number)
        return np.array([NEVER] * index + [0.0] * (len(numbers) - 1 - index), np.float32)

    def warm_up(self) -> None:
        """Run every exit once on a black image, as the first run is slower."""
        images = np.zeros((1, *self._shape), np.uint8)
        self(images, NEVER if self._takes_thresholds else None)
        self._is_warm = True

    def _check_images(self, images: np.ndarray) -> None:
        found = type(images).__name__
        if isinstance(images, np.ndarray):
            if images.dtype == np.uint8 and images.shape[1:] == self._shape and len(images):
                return
            found = f'{images.dtype} {images.shape}'
        raise ConfigError(
            f'images must be a uint8 array (N, {", ".join(map(str, self._shape))}) in RGB order '
            f'with at least one image, not {found}'
        )

    def _check_thresholds(self, thresholds: Thresholds) -> np.ndarray:
        count = len(self._thresholds)
        try:
            with np.errstate(over='ignore'):  # to infinity: no image stops
                found = np.asarray(thresholds, np.float32)
        except (TypeError, ValueError, OverflowError):
            found = np.array(np.nan)
        if found.size == 1:
            found = np.repeat(found, count)
        if found.shape != (count,) or np.isnan(found).any():
            given = thresholds.tolist() if isinstance(thresholds, np.ndarray) else thresholds
            raise ConfigError(
                f'thresholds={given}: give one number, or {count}, one for each exit but the last'
            )
        return found


def import_onnxruntime() -> ModuleType:
    """The onnxruntime module.

    Raises:
        DeployError: It is not installed.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as e:
        raise DeployError(
            f'exported networks run on ONNX Runtime ({e}): pip install onnxruntime'
        ) from e
    return onnxruntime
