"""An exported network, run by ONNX Runtime and NumPy: no torch here."""

import functools
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from mmrazor_byot.errors import ConfigError, DeployError
from mmrazor_byot.policies import (
    EarlyExit,
    ExitPolicy,
    FixedExitPolicy,
    parse_policy,
    run_policy,
)

from .manifest import (
    ENDINGS,
    Manifest,
    check_files,
    computed,
    file_name,
    read_manifest,
)

State = Tuple[np.ndarray, ...]


class _Model(NamedTuple):
    """An ONNX Runtime session and the names of what it takes and gives."""

    session: Any
    inputs: List[str]
    outputs: List[str]

    def __call__(self, values: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        given = {name: values[name] for name in self.inputs}
        return dict(zip(self.outputs, self.session.run(self.outputs, given)))


class DeployedNetwork:
    """An exported network that can stop behind any of its sections.

    ``run_policy`` drives it as it does a ``StagedNetwork``. Every file is
    compared with the manifest's hash first; the models are loaded as they
    are needed.

    Args:
        folder (str | Path): What tools/deploy/export_onnx.py wrote.
        precision (str): ``'fp32'`` or ``'int8'``.
        threads (int, optional): Of ONNX Runtime. Defaults to one a core.

    Raises:
        DeployError: The folder is damaged, or the installed onnxruntime
            cannot read it.
        ConfigError: A setting is out of range.

    Examples:
        >>> network = DeployedNetwork('deployed')
        >>> images = np.zeros((2, *network.input_size, 3), np.uint8)
        >>> network.run(images).scores.argmax(1)
    """

    def __init__(
        self, folder: Union[str, Path], precision: str = 'fp32', threads: Optional[int] = None
    ) -> None:
        if precision not in ENDINGS:
            raise ConfigError(f'precision={precision!r}: choose from {list(ENDINGS)}')
        if threads is not None and threads < 1:
            raise ConfigError(f'threads={threads}: at least 1')
        self.folder = Path(folder)
        self.precision = precision
        self.threads = threads
        self.manifest: Manifest = read_manifest(folder)
        check_files(folder, self.manifest, precision)
        #: Exits, C, and classes, K.
        self.num_exits = self.manifest.num_exits
        self.num_classes = self.manifest.num_classes
        #: Height and width of an image.
        self.input_size: Tuple[int, int] = tuple(self.manifest.input_size)
        self._models: Dict[Tuple[str, int], _Model] = {}
        self._model('exit', 1)  # the smallest shows what onnxruntime can read

    @functools.cached_property
    def policy(self) -> ExitPolicy:
        """The exported exit policy; without one, the deepest exit's."""
        if self.manifest.policy is None:
            return FixedExitPolicy()
        found = parse_policy(self.manifest.policy, 'the policy exported')
        found.check(self.num_exits, self.num_classes)
        return found.policy

    def stage(
        self, number: int, state: State, read: bool = True
    ) -> Tuple[State, Optional[np.ndarray]]:
        """Go on to the next exit.

        Args:
            number (int): The exit, 1 to C.
            state (tuple[np.ndarray]): What the stage before left, each
                (N, ...); before stage 1, the images (N, H, W, 3) uint8 RGB.
            read (bool): Whether to run the exit's head. Defaults to True.

        Returns:
            tuple: The state for the next stage, empty behind the last; and
            the logits (N, K) float32, or None.
        """
        stage = self.manifest.stages[number - 1]
        values = dict(zip(stage['inputs'], state))
        if read:
            values.update(self._model('stage', number)(values))
        elif computed(stage):
            values.update(self._model('trunk', number)(values))
        left = tuple(values[name] for name in stage['outputs'])
        return left, values[f'logits_{number}'] if read else None

    def exit_logits(self, number: int, images: np.ndarray) -> np.ndarray:
        """Logits of one exit, by the model cut there.

        Args:
            number (int): The exit, 1 to C.
            images (np.ndarray): (N, H, W, 3) uint8 RGB.

        Returns:
            np.ndarray: (N, K) float32.
        """
        answer = self._model('exit', number)(dict(image=images))
        return answer[f'logits_{number}']

    def run(self, images: np.ndarray, policy: Optional[ExitPolicy] = None) -> EarlyExit:
        """Classify a batch.

        Args:
            images (np.ndarray): (N, H, W, 3) uint8 RGB.
            policy (ExitPolicy, optional): Defaults to :attr:`policy`.

        Returns:
            EarlyExit: Probabilities, and the exit of each image.

        Raises:
            ConfigError: Images or policy do not fit the network.
        """
        self._check_images(images)
        policy = self.policy if policy is None else policy
        if not isinstance(policy, FixedExitPolicy) or policy.ensemble:
            return run_policy(self, images, policy)
        policy.check(self.num_exits)
        number = policy.last(self.num_exits)
        scores = policy.probabilities(self.exit_logits(number, images), number)
        shape = (len(images), self.num_exits, self.num_classes)
        exit_scores = np.full(shape, np.nan, scores.dtype)
        exit_scores[:, number - 1] = scores
        return EarlyExit(scores, np.full(len(images), number), exit_scores)

    def warm_up(self, policy: ExitPolicy, batch: int = 1) -> None:
        """Load all that a policy may run, and run it once.

        Args:
            policy (ExitPolicy): The policy.
            batch (int): Number of the images, all black. Defaults to 1.
        """
        images = np.zeros((batch, *self.input_size, 3), np.uint8)
        last = policy.last(self.num_exits)
        if isinstance(policy, FixedExitPolicy) and not policy.ensemble:
            self.exit_logits(last, images)
            return
        state: State = (images,)
        for number in range(1, last + 1):
            read = number == last or policy.reads(number)
            state, _ = self.stage(number, state, read)

    def _check_images(self, images: np.ndarray) -> None:
        if (
            isinstance(images, np.ndarray)
            and images.dtype == np.uint8
            and images.shape[1:] == (*self.input_size, 3)
            and len(images)
        ):
            return
        found = (
            f'{images.dtype} {images.shape}'
            if isinstance(images, np.ndarray)
            else type(images).__name__
        )
        height, width = self.input_size
        raise ConfigError(
            f'images must be a uint8 array (N, {height}, '
            f'{width}, 3) in RGB order with at least one '
            f'image, not {found}'
        )

    def _model(self, part: str, number: int) -> _Model:
        """A model, loaded when it is first asked for."""
        model = self._models.get((part, number))
        if model is None:
            model = self._load(file_name(part, number, self.precision))
            self._models[part, number] = model
        return model

    def _load(self, name: str) -> _Model:
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads or 0
        options.log_severity_level = 3  # errors; they are raised anyway
        # The threads of one stage must not spin while the next one works.
        options.add_session_config_entry('session.force_spinning_stop', '1')
        try:
            session = ort.InferenceSession(
                str(self.folder / name), options, providers=['CPUExecutionProvider']
            )
        except Exception as e:  # onnxruntime's errors have no common base
            raise DeployError(
                f'onnxruntime {ort.__version__} cannot load '
                f'"{self.folder / name}" of opset {self.manifest.opset}: '
                f'{" ".join(str(e).split())[:200]}; install a newer '
                'onnxruntime or export with a lower --opset'
            ) from e
        return _Model(
            session, [x.name for x in session.get_inputs()], [x.name for x in session.get_outputs()]
        )


def import_onnxruntime() -> Any:
    """The onnxruntime module.

    Raises:
        DeployError: It is not installed.
    """
    try:
        import onnxruntime
    except ImportError as e:
        raise DeployError(
            f'exported networks run on onnxruntime ({e}): pip install onnxruntime'
        ) from e
    return onnxruntime
