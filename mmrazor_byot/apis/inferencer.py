"""Classify images with early exits."""

import os
import time
from fnmatch import fnmatch
from math import ceil
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set, Union

import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.model import BaseModel
from mmpretrain.apis import ImageClassificationInferencer
from mmpretrain.structures import DataSample
from torch import Tensor

from mmrazor_byot.early_exit import (
    ExitPolicy,
    FixedExitPolicy,
    PolicyFile,
    StagedNetwork,
    build_policy,
    read_policy,
    run_policy,
)
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.evaluation.collect import Network
from mmrazor_byot.exits import ExitNetwork
from mmrazor_byot.files import PathLike
from mmrazor_byot.progress import track
from mmrazor_byot.runtime.images import MAX_PIXELS, Source, list_sources
from mmrazor_byot.runtime.results import ExitResult, exit_result
from mmrazor_byot.zoo import list_models

from .image_pipeline import ImagePipeline, data_transforms
from .model import Recipe, check_built, class_names, get_model, move_model
from .pictures import draw_pictures, picture_files
from .transform import TransformPipeline, read_transform

#: A policy, its config, or a policy file, read or not; None for the model's ``predict_with``.
Policy = Union[ExitPolicy, dict, PolicyFile, PathLike, None]


class ByotInferencer(ImageClassificationInferencer):
    """Inferencer for networks with exits, which stops at an early exit for easy images.

    Args:
        model (BaseModel | ExitNetwork | str | Config): A config, a config file, a name in the model
            zoo, or a built network, also a plain torch one of ``add_exits``.
        pretrained (bool | str | None): A checkpoint or ``zoo://NAME``; if True, the weights that
            the zoo has for the config; if False or None, the weights are random. Defaults to True.
        device (str | torch.device, optional): Defaults to the GPU if there is one; a built network
            stays on its device.
        classes (Sequence[str], optional): Names of the classes. Defaults to those in the checkpoint
            or the config, else to numbers.
        policy (ExitPolicy | dict | str | None): The exit policy, its config, or a policy file; if
            None, the model's ``predict_with``. ``inferencer.policy`` can be set later too.
        config (str | Config, optional): The config of a built network without ``_config``.
        show_progress (bool): Show a progress bar on stderr. Defaults to True.
        transform (Callable, optional): How images are prepared for a plain torch network, a
            transform of torchvision or timm, see
            :func:`~mmrazor_byot.apis.transform.read_transform`.
        max_pixels (int): The largest image file that is read. Defaults to 100 million pixels.

    Raises:
        ByotError: Model, weights, classes and policy do not fit.

    Examples:
        >>> inferencer = ByotInferencer(
        ...     'byot_resnet18_2xb64_digits',
        ...     policy=dict(type='ConfidencePolicy', thresholds=0.9))
        >>> result, = inferencer('three.png')
        >>> print(result)
        3 (99.8 %), left at exit 1/4, 0.94 ms
    """

    postprocess_kwargs: set = {'topk'}

    def __init__(
        self,
        model: Union[Network, Recipe],
        pretrained: Union[bool, PathLike, None] = True,
        device: Union[str, torch.device, None] = None,
        classes: Optional[Sequence[str]] = None,
        policy: Policy = None,
        config: Optional[Recipe] = None,
        show_progress: bool = True,
        max_pixels: int = MAX_PIXELS,
        transform: Any = None,
    ) -> None:
        _check_settings(max_pixels=max_pixels)
        self.max_pixels = max_pixels
        if isinstance(model, (BaseModel, ExitNetwork)):
            check_built(model, pretrained, config, transform)
            if device is not None:
                move_model(model, device)
        else:
            gpu_if_any = 'cuda' if torch.cuda.is_available() else 'cpu'
            model = get_model(model, pretrained, device or gpu_if_any)
        if isinstance(model, ExitNetwork):
            self._init_plain(model, transform)
        else:
            super().__init__(model, pretrained=None)
            self._preprocess = _data_preprocessor(model)
        self.classes = class_names(self.model, classes)
        self.policy = policy
        self.device = next(self.model.parameters()).device
        self.network = StagedNetwork(self.model)
        self.show_progress = show_progress
        self._warmed_up: Set[torch.Size] = set()

    @property
    def policy(self) -> ExitPolicy:
        """The exit policy; setting one that does not fit raises a :class:`ConfigError`."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = _read_policy(policy, self.model)

    def __call__(
        self,
        inputs: Any,
        return_datasamples: bool = False,
        batch_size: int = 1,
        skip_bad: bool = False,
        channel_order: Optional[str] = None,
        **kwargs: Any,
    ) -> list:
        """Classify images.

        Args:
            inputs (str | Path | bytes | PIL.Image.Image | np.ndarray | list): A file, a folder, the
                bytes of a file, a PIL image, a uint8 array (H, W, 3), or a list of these; see
                :func:`mmrazor_byot.runtime.images.list_sources`.
            return_datasamples (bool): Return ``DataSample`` instead of dict: ``pred_score`` (K,),
                ``pred_label``, ``exit``, ``ensemble``, ``time_ms``, and ``exit_scores`` (C, K), NaN
                for exits whose head was not run. Defaults to False.
            batch_size (int): Defaults to 1.
            skip_bad (bool): Skip files that cannot be read: their result is None, and
                ``inferencer.skipped`` has the reason. Defaults to False.
            channel_order (str, optional): The order of color arrays, ``'RGB'``, or ``'BGR'`` as
                from cv2.imread; needed for these alone.
            topk (int): Number of classes in ``exits``. Defaults to 3.
            show, wait_time, show_dir: As in mmpretrain's inferencer.
            draw_score, resize, rescale_factor: See :func:`draw_exits`.

        Returns:
            list[ExitResult]: For each image, in the order of the inputs, a dict that prints as one
            line, and shows itself with its image in a notebook:

            - ``pred_scores`` (np.ndarray (K,)), ``pred_label``, ``pred_score``, ``pred_class``: the
              prediction;
            - ``exit``, ``num_exits``: the exit that it left at, from 1, and C;
            - ``ensemble``: whether the prediction is the mean over the exits in ``exits``;
            - ``exits``: for each exit whose head was run its number ``exit`` and ``top``, a list of
              ``label``, ``class``, ``score``;
            - ``time_ms``: milliseconds from the resized image to the prediction; in a batch, the
              batch's time divided by its size.

        Raises:
            DatasetError: An image is missing, truncated or not supported.
            ConfigError: A setting is invalid, or a color array has no ``channel_order``.
        """
        _check_settings(batch_size=batch_size, **kwargs)
        try:
            *_, visualize, postprocess = self._dispatch_kwargs(**kwargs)
        except ValueError as e:  # an unknown argument
            raise ConfigError(f'ByotInferencer: {e}') from e
        images = list_sources(inputs, channel_order)
        picture_files(images, visualize.get('show_dir'))  # raises before the inference
        batches = track(
            self.preprocess(images, batch_size, skip_bad),
            'Inference',
            ceil(len(images) / batch_size),
            self.show_progress,
        )
        samples = [sample for batch in batches for sample in self.forward(batch)]
        results: List[Optional[ExitResult]] = list(self.postprocess(samples, **postprocess))
        for index in self.skipped:
            results.insert(index, None)
            samples.insert(index, None)
        self.visualize(images, results, **visualize)
        if return_datasamples:
            return samples
        for image, result in zip(images, results):
            if result is not None:
                result.keep_image(image, self.max_pixels)
        return results

    def _init_plain(self, model: ExitNetwork, transform: Any) -> None:
        """What mmpretrain's constructor does, for a plain torch network."""
        read = read_transform(transform)
        self.model, self.config, self.visualizer = model.eval(), Config(), None
        self.pipeline = TransformPipeline(read, model.input_size, self.max_pixels)
        normalize = read.preprocessing().to(next(model.parameters()).device)

        def preprocess(data: dict) -> Tensor:
            return normalize(data['inputs'].to(self.device).permute(0, 2, 3, 1))

        self._preprocess = preprocess

    def _init_pipeline(self, cfg: Config) -> ImagePipeline:
        return ImagePipeline(data_transforms(cfg), self.model.input_size, self.max_pixels)

    def preprocess(
        self, inputs: List[Source], batch_size: int = 1, skip_bad: bool = False
    ) -> Iterator[dict]:
        """Iterate over collated batches of the images; see :meth:`__call__`."""
        #: Why images were skipped, by their index, in ascending order.
        self.skipped: Dict[int, str] = {}
        chunks = self._get_chunk_data(self._prepared(inputs, skip_bad), batch_size)
        return map(default_collate, chunks)

    def _prepared(self, images: List[Source], skip_bad: bool) -> Iterator[dict]:
        for index, image in enumerate(images):
            try:
                packed = self.pipeline(image, f'image {index}')
            except DatasetError as e:
                if not skip_bad:
                    raise
                self.skipped[index] = str(e)
            else:
                yield packed
        if len(self.skipped) == len(images):
            raise DatasetError(
                f'none of the {len(images)} images can be read; the first: {self.skipped[0]}'
            )

    @torch.no_grad()
    def forward(self, data: dict) -> List[DataSample]:
        """Classify a batch, ``inputs`` (N, C, H, W) and ``data_samples``; see :meth:`__call__`."""
        shape = data['inputs'].shape
        if shape not in self._warmed_up:  # the first batches of a shape are slow
            for _ in range(2):
                self.network(torch.zeros(shape, device=self.device))
            self._warmed_up.add(shape)
        self._synchronize()
        start = time.perf_counter()
        images = self._preprocess(data)
        outcome = run_policy(self.network, images, self.policy)
        self._synchronize()
        time_ms = (time.perf_counter() - start) * 1000 / len(images)
        scores, exit_scores = outcome.scores.cpu(), outcome.exit_scores.cpu()
        samples = data['data_samples']
        for i, sample in enumerate(samples):
            sample.set_pred_score(scores[i]).set_pred_label(scores[i].argmax())
            sample.set_field(exit_scores[i], 'exit_scores')
            sample.set_field(int(outcome.exits[i]), 'exit')
            sample.set_field(self.policy.ensemble, 'ensemble')
            sample.set_field(time_ms, 'time_ms')
        return samples

    def postprocess(self, preds: List[DataSample], topk: int = 3) -> List[ExitResult]:
        """Convert predictions to dicts, see :meth:`__call__`."""
        return [
            exit_result(
                sample.pred_score.numpy(),
                sample.exit_scores.numpy(),
                self.classes,
                sample.exit,
                sample.ensemble,
                sample.time_ms,
                topk,
            )
            for sample in preds
        ]

    def visualize(
        self, ori_inputs: List[Source], preds: Sequence[Optional[dict]], **kwargs: Any
    ) -> None:
        """Draw results; see :meth:`__call__` for the settings."""
        draw_pictures(ori_inputs, preds, max_pixels=self.max_pixels, **kwargs)

    def _synchronize(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)

    @staticmethod
    def list_models(pattern: Optional[str] = None) -> List[str]:
        """Names of the zoo's models with weights that match a pattern such as ``'*resnet*'``."""
        return [m.name for m in list_models() if m.weights and fnmatch(m.name, pattern or '*')]


def _read_policy(policy: Policy, model: Network) -> ExitPolicy:
    """The policy for a network; a ConfigError if it does not fit."""
    if isinstance(policy, (str, os.PathLike)):
        policy = read_policy(policy)
    if isinstance(policy, PolicyFile):
        policy.check(model.num_exits, model.num_classes)
        return policy.policy
    if policy is None:
        answer = getattr(model, 'predict_with', 'deepest')
        exit_number = answer if isinstance(answer, int) else -1
        policy = FixedExitPolicy(exit_number, ensemble=answer == 'ensemble')
    elif not isinstance(policy, ExitPolicy):
        policy = build_policy(policy)
    policy.check(model.num_exits)
    return policy


def _data_preprocessor(model: BaseModel) -> Callable[[dict], Tensor]:
    return lambda data: model.data_preprocessor(data, False)['inputs']


def _check_settings(**settings: Any) -> None:
    """Raise a ConfigError for a number or a folder of another type or out of range."""
    for name, value in settings.items():
        if name in ('batch_size', 'max_pixels', 'topk'):
            fits = type(value) is int and value > 0
        elif name in ('resize', 'rescale_factor') and value is not None:
            fits = type(value) in (int, float) and value > 0
        else:
            fits = name != 'show_dir' or isinstance(value, (str, os.PathLike, type(None)))
        if not fits:
            kinds = dict(show_dir='the name of a folder', resize='a positive number')
            kinds['rescale_factor'] = kinds['resize']
            raise ConfigError(f'{name}={value!r}: give {kinds.get(name, "a positive integer")}')
