"""Answers for images, each from the exit at which it left."""

import os
import time
from fnmatch import fnmatch
from math import ceil
from typing import Any, Dict, Iterator, List, Optional, Sequence, Union

import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.model import BaseModel
from mmpretrain.apis import ImageClassificationInferencer
from mmpretrain.structures import DataSample
from rich.console import Console
from rich.progress import track

from mmrazor_byot.early_exit import (
    ExitPolicy,
    FixedExitPolicy,
    StagedNetwork,
    build_policy,
    read_policy,
    run_policy,
)
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.files import PathLike
from mmrazor_byot.runtime.images import MAX_PIXELS
from mmrazor_byot.visualization.exit_results import exit_result
from mmrazor_byot.zoo import list_models

from .image_inputs import Image, list_images
from .image_pipeline import ImagePipeline, data_transforms
from .model import Recipe, check_built, class_names, get_model, move_model
from .pictures import draw_pictures, picture_files

#: A policy, its config, or a policy file; None: as ``predict`` answers.
Policy = Union[ExitPolicy, dict, PathLike, None]


class ByotInferencer(ImageClassificationInferencer):
    """Classifies images; an easy one leaves the network early.

    Args:
        model (BaseModel | str | Config): A config, its file, a name in the model zoo, or a built
            network.
        pretrained (bool | str | None): A checkpoint or ``zoo://NAME``. True: the weights that the
            zoo has. None or False: untrained. Defaults to True.
        device (str | torch.device, optional): Defaults to the GPU where there is one, and for a
            built network to where it is.
        classes (Sequence[str], optional): Names of the classes. Defaults to those of the
            checkpoint, else of the config, else to numbers.
        policy (ExitPolicy | dict | str | None): The exit policy, its config, or a policy file.
            None: what the model's ``predict_with`` says, which is the deepest exit unless changed.
            It can be set later: ``inferencer.policy = ...``.
        config (str | Config, optional): The recipe of a built network that does not carry it.
        show_progress (bool): Show a bar, on the standard error. Defaults to True.
        max_pixels (int): The largest image file that is read. Defaults to 100 million pixels.

    Raises:
        ByotError: Model, weights, classes and policy do not fit.

    Examples:
        >>> inferencer = ByotInferencer(
        ...     'byot_resnet18_2xb64_digits',
        ...     policy=dict(type='ConfidencePolicy', thresholds=0.9))
        >>> result, = inferencer('three.png')
        >>> result['pred_class'], result['exit'], result['num_exits']
        ('3', 1, 4)
    """

    postprocess_kwargs: set = {'topk'}

    def __init__(
        self,
        model: Union[BaseModel, Recipe],
        pretrained: Union[bool, str, os.PathLike, None] = True,
        device: Union[str, torch.device, None] = None,
        classes: Optional[Sequence[str]] = None,
        policy: Policy = None,
        config: Optional[Recipe] = None,
        show_progress: bool = True,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if isinstance(model, BaseModel):
            check_built(model, pretrained, config)
            if device is not None:
                move_model(model, device)
        else:
            gpu_if_any = 'cuda' if torch.cuda.is_available() else 'cpu'
            model = get_model(model, pretrained, device or gpu_if_any)
        self.max_pixels = max_pixels
        super().__init__(model, pretrained=None)
        self.classes = class_names(self.model, classes)
        self.policy = policy
        self.device = next(self.model.parameters()).device
        self.network = StagedNetwork(self.model)
        self.show_progress = show_progress
        self._warm = set()

    @property
    def policy(self) -> ExitPolicy:
        """The exit policy; a :class:`ConfigError` is raised if a new one does not fit."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        if policy is None:
            answer = getattr(self.model, 'predict_with', 'deepest')
            number = -1 if answer in ('deepest', 'ensemble') else answer
            policy = FixedExitPolicy(number, ensemble=answer == 'ensemble')
        elif isinstance(policy, (str, os.PathLike)):
            file = read_policy(policy)
            file.check(self.model.num_exits, self.model.num_classes)
            policy = file.policy
        elif not isinstance(policy, ExitPolicy):
            policy = build_policy(policy)
        policy.check(self.model.num_exits)
        self._policy = policy

    def __call__(
        self,
        inputs: Any,
        return_datasamples: bool = False,
        batch_size: int = 1,
        skip_bad: bool = False,
        **kwargs,
    ) -> list:
        """Classify images.

        Args:
            inputs: A path, a folder (all images in it, sorted), an array (H, W, 3) uint8, or a list
                of these. An array is BGR, as cv2.imread reads it, whatever the network was trained
                on; grey and RGBA images are converted.
            return_datasamples (bool): Return ``DataSample`` instead of dict: ``pred_score`` (K,),
                ``pred_label``, ``exit``, ``ensemble``, ``time_ms``, and ``exit_scores`` (C, K), NaN
                for exits that were not read. Defaults to False.
            batch_size (int): Images that go through the network together. Defaults to 1.
            skip_bad (bool): Go on after a file that cannot be read: its result is None, and
                ``inferencer.skipped`` says what is wrong with it. Defaults to False.
            topk (int): How many classes of each exit. Defaults to 3.
            show (bool): Show pictures in a window. Defaults to False.
            wait_time (float): Seconds for each; 0 waits for a key.
            show_dir (str, optional): Folder to write pictures to.
            draw_score (bool): Write scores on them. Defaults to True.
            resize, rescale_factor: Size of the image on the picture, see :func:`draw_exits`.
                Defaults to a legible size.

        Returns:
            list[dict]: For each image, in the order of the inputs:

            - ``pred_scores`` (np.ndarray (K,)), ``pred_label``, ``pred_score``, ``pred_class``: the
              answer;
            - ``exit``, ``num_exits``: where it left, from 1, and C;
            - ``ensemble``: whether the answer is the mean of the exits read;
            - ``exits``: for each exit that was reached and read its number ``exit`` and ``top``, a
              list of ``label``, ``class``, ``score``;
            - ``time_ms``: milliseconds from the pixels of network size to the answer. In a batch,
              the batch's time divided by its images.

        Raises:
            DatasetError: An image is missing, truncated or of another kind.
            ConfigError: A setting does not fit.
        """
        for name in ('batch_size', 'topk', 'resize', 'rescale_factor'):
            value = dict(kwargs, batch_size=batch_size).get(name)
            if value is not None and value <= 0:
                raise ConfigError(f'{name}={value}: it must be positive')
        _, _, visualize, postprocess = self._dispatch_kwargs(**kwargs)
        images = list_images(inputs)
        picture_files(
            images, visualize.get('show_dir')
        )  # before the work, if one cannot be written
        batches = track(
            self.preprocess(images, batch_size, skip_bad),
            'Inference',
            total=ceil(len(images) / batch_size),
            console=Console(stderr=True),
            transient=True,
            disable=not self.show_progress,
        )
        samples = [sample for batch in batches for sample in self.forward(batch)]
        results = self.postprocess(samples, **postprocess)
        for place in self.skipped:
            results.insert(place, None)
            samples.insert(place, None)
        self.visualize(images, results, **visualize)
        return samples if return_datasamples else results

    def _init_pipeline(self, cfg: Config) -> ImagePipeline:
        return ImagePipeline(data_transforms(cfg), self.model.input_size, self.max_pixels)

    def preprocess(self, inputs: List[Image], batch_size: int = 1, skip_bad: bool = False):
        """An iterator over collated batches of the images; see :meth:`__call__`."""
        #: Place of each image that was skipped, in rising order, and what is wrong with it.
        self.skipped: Dict[int, str] = {}
        chunks = self._get_chunk_data(self._prepared(inputs, skip_bad), batch_size)
        return map(default_collate, chunks)

    def _prepared(self, images: List[Image], skip_bad: bool) -> Iterator[dict]:
        for place, image in enumerate(images):
            try:
                packed = self.pipeline(image)
            except DatasetError as e:
                if not skip_bad:
                    raise
                self.skipped[place] = str(e)
            else:
                yield packed
        if len(self.skipped) == len(images):
            raise DatasetError(
                f'none of the {len(images)} images can be read; the first: {self.skipped[0]}'
            )

    @torch.no_grad()
    def forward(self, data: dict) -> List[DataSample]:
        """Classify a batch.

        Args:
            data (dict): ``inputs`` (N, C, H, W) and ``data_samples``.

        Returns:
            list[DataSample]: See :meth:`__call__`.
        """
        shape = data['inputs'].shape
        if shape not in self._warm:  # the first batches of a shape are slow, and not worth timing
            for _ in range(2):
                self.network(torch.zeros(shape, device=self.device))
            self._warm.add(shape)
        self._wait()
        start = time.perf_counter()
        images = self.model.data_preprocessor(data, False)['inputs']
        outcome = run_policy(self.network, images, self.policy)
        self._wait()
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

    def postprocess(self, preds: List[DataSample], topk: int = 3) -> List[dict]:
        """Turn predictions into dicts, see :meth:`__call__`."""
        return [exit_result(sample, self.classes, topk) for sample in preds]

    def visualize(self, ori_inputs: List[Image], preds: List[Optional[dict]], **settings) -> None:
        """Draw results, with the settings of :meth:`__call__`."""
        draw_pictures(ori_inputs, preds, max_pixels=self.max_pixels, **settings)

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)

    @staticmethod
    def list_models(pattern: Optional[str] = None) -> List[str]:
        """Names in the zoo that have weights and fit a pattern such as ``'*resnet*'``."""
        return [m.name for m in list_models() if m.weights and fnmatch(m.name, pattern or '*')]
