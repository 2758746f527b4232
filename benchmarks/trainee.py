"""A network with an optimizer and a batch in memory, to take steps."""

import time
from dataclasses import dataclass, replace
from typing import Optional

import torch
from machine import synchronize
from mmengine.registry import OPTIM_WRAPPERS
from mmpretrain.structures import DataSample
from peers import build_method

from mmrazor_byot.engine.hooks.compile_hook import compile_model

DTYPES = dict(bf16='bfloat16', fp16='float16')


@dataclass(frozen=True)
class Setting:
    """How steps are taken.

    Attributes:
        method: One of ``peers.METHODS``.
        batch: Images a step.
        device: ``'cpu'`` or ``'cuda'``.
        amp: ``'bf16'``, ``'fp16'`` or None for fp32.
        layout: ``'contiguous'`` or ``'channels_last'``.
        compile: Whether ``torch.compile`` compiles network and losses.
        fused: Whether SGD is torch's fused one.
        depth: Of the ResNet.
        exits: How many exits; None for the method's own.
    """

    method: str = 'byot'
    batch: int = 64
    device: str = 'cpu'
    amp: Optional[str] = None
    layout: str = 'contiguous'
    compile: bool = False
    fused: bool = False
    depth: int = 18
    exits: Optional[int] = None

    def but(self, **changes) -> 'Setting':
        """The same with some changes."""
        return replace(self, **changes)

    @property
    def dtype(self) -> torch.dtype:
        """What convolutions compute in."""
        return getattr(torch, DTYPES.get(self.amp, 'float32'))


class Trainee:
    """A model with an optimizer and a batch, ready to step."""

    def __init__(self, setting: Setting) -> None:
        torch.manual_seed(0)
        self.setting = setting
        self.model = build_method(setting.method, depth=setting.depth, exits=setting.exits).to(
            setting.device
        )
        if setting.layout == 'channels_last':
            self.model.to(memory_format=torch.channels_last)
        if setting.compile:
            compile_model(self.model)
        self.optimizer = OPTIM_WRAPPERS.build(self._optimizer())
        self.images = torch.randint(0, 256, (setting.batch, 3, 32, 32)).byte()
        self.labels = torch.randint(0, 100, (setting.batch,))

    def _optimizer(self) -> dict:
        sgd = torch.optim.SGD(
            self.model.parameters(),
            lr=0.01,
            momentum=0.9,
            weight_decay=5e-4,
            **(dict(fused=True) if self.setting.fused else {}),
        )
        if self.setting.amp is None:
            return dict(type='OptimWrapper', optimizer=sgd)
        return dict(
            type='mmrazor_byot.AmpOptimWrapper', optimizer=sgd, dtype=DTYPES[self.setting.amp]
        )

    def batch(self) -> dict:
        """A batch as a data loader gives it."""
        samples = [DataSample().set_gt_label(label) for label in self.labels]
        return dict(inputs=self.images, data_samples=samples)

    def step(self) -> float:
        """Take one training step; returns seconds."""
        batch = self.batch()
        start = time.perf_counter()
        self.model.train_step(batch, self.optimizer)
        synchronize()
        return time.perf_counter() - start
