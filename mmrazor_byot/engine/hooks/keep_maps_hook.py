"""Trains the exits of a frozen network on feature maps that are computed once."""

from typing import Any, Optional, Tuple

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.exits import keep_maps
from mmrazor_byot.exits.kept_maps import Batch
from mmrazor_byot.registry import HOOKS
from mmrazor_byot.structures import BatchSamples, stack_targets

from .utils import unwrap


@HOOKS.register_module()
class KeepMapsHook(Hook):
    """Computes the feature maps of a frozen architecture before training.

    An epoch then costs only the exits. Each process keeps the maps of its share of the images.

    Args:
        views (int): How many augmented views of each image to keep; an epoch uses one of them.
            Defaults to 1.
        folder (str, optional): Keep them in a file in this folder. Defaults to the memory.
        dtype (str, optional): Type to keep them in: ``'float16'`` takes half of the space. Defaults
            to the network's.

    Raises:
        ConfigError: The architecture is not frozen, training is not by epoch, or there is no space.
    """

    priority = 'LOWEST'  # after ConsoleHook, which says what is trained

    def __init__(
        self, views: int = 1, folder: Optional[str] = None, dtype: Optional[str] = None
    ) -> None:
        if dtype not in (None, 'float32', 'float16', 'bfloat16'):
            raise ConfigError(f'KeepMapsHook: dtype={dtype!r}; float32, float16 or bfloat16')
        self.views, self.folder = views, folder
        self.dtype = getattr(torch, dtype) if dtype else None
        self._preprocessor: Optional[nn.Module] = None

    def before_train(self, runner: Runner) -> None:
        """Compute the maps, and train on them instead of images."""
        model: Any = unwrap(runner.model)
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop) or runner.cfg.get('compile'):
            raise ConfigError(
                'KeepMapsHook: train by epoch (train_cfg.by_epoch=True) and without compile'
            )

        def prepare(batch: Any) -> Tuple[Tensor, Optional[Tensor]]:
            data = model.data_preprocessor(batch, True)
            target = stack_targets(data['data_samples']) if model.needs_labels else None
            return data['inputs'], target

        loader = loop.dataloader
        set_random_seed(runner.seed, diff_rank_seed=True)  # the same views when it is resumed
        kept = keep_maps(model, loader, self.views, self.folder, self.dtype, prepare)
        batch_size = loader.batch_size or -(-len(kept) // len(loader))
        loop.dataloader = kept.loader(batch_size, _as_samples)
        loop.dataloader.dataset.metainfo = getattr(loader.dataset, 'metainfo', {})

    def before_train_epoch(self, runner: Runner) -> None:
        """Let the maps pass, and keep the data preprocessor for validation."""
        model: Any = unwrap(runner.model)
        self._preprocessor = model.data_preprocessor
        model.data_preprocessor = BaseDataPreprocessor().to(model.data_preprocessor.device)

    def after_train_epoch(self, runner: Runner) -> None:
        """Set the data preprocessor again."""
        model: Any = unwrap(runner.model)
        model.data_preprocessor = self._preprocessor


def _as_samples(batch: Batch) -> dict:
    sections, target = batch
    fields = {}
    if target is not None:
        fields['gt_label' if target.ndim == 1 else 'gt_score'] = target
    else:
        fields['sample_idx'] = torch.arange(len(sections.logits))
    return dict(inputs=sections, data_samples=BatchSamples(**fields))
