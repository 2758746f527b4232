"""Ways around faults of torch, where the code that needs them asks for them."""

import contextlib
from typing import Iterator
from unittest import mock

import torch
from mmpretrain.models.utils.attention import ShiftWindowMSA
from torch import nn

from mmrazor_byot.errors import ConfigError

#: Channels in a block of oneDNN; 8 without AVX-512.
BLOCK = 16


@contextlib.contextmanager
def symbolic_batch() -> Iterator[None]:
    """Keep the batch size symbolic in Swin's windows for torch.export."""

    def window_reverse(windows: torch.Tensor, height: int, width: int, size: int) -> torch.Tensor:
        rows, columns = height // size, width // size
        # mmpretrain computes the batch size by dividing floats.
        windows = windows.view(
            windows.shape[0] // (rows * columns), rows, columns, size, size, windows.shape[-1]
        )
        return windows.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    with mock.patch.object(ShiftWindowMSA, 'window_reverse', staticmethod(window_reverse)):
        yield


def check_narrow_convolutions(model: nn.Module, switch: str) -> None:
    """Check that a network on a CPU can be trained in NHWC, which the setting ``switch`` asks for.

    The weight gradient of a strided 1 x 1 convolution with fewer input channels than a block is
    computed in a buffer that is too small (oneDNN issue 6035): the run crashes, hangs or learns
    nothing. A :class:`ConfigError` names such a convolution.
    """
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.weight.device.type == 'cpu'
            and module.kernel_size == (1, 1)
            and max(module.stride) > 1
            and module.in_channels // module.groups < BLOCK
        ):
            raise ConfigError(
                f'{switch}: on a CPU, torch overwrites memory in 1 x 1 convolutions with a stride '
                f'and fewer than {BLOCK} input channels, such as {name} with {module.in_channels} '
                f'(oneDNN issue 6035); remove {switch} or use a wider network'
            )
