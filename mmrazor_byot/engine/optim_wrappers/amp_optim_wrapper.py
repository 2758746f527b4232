"""Mixed precision on every device, with a scaler only where one is needed."""

from contextlib import contextmanager
from typing import Iterator, Optional, Union

import torch
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper as MMEngineAmpOptimWrapper
from torch import nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import OPTIM_WRAPPERS

from .optim_wrapper import OptimWrapper

HALVES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper, MMEngineAmpOptimWrapper):
    """MMEngine's mixed precision, also on a CPU.

    bfloat16 has the range of float32: losses are not scaled, so no step waits for the GPU to say
    whether a gradient overflowed. With float16 they are, as in MMEngine. Checkpoints go from one to
    the other.

    Args:
        dtype (str | torch.dtype, optional): ``'bfloat16'`` or ``'float16'``. Defaults to bfloat16
            where the device has it, else float16.
        loss_scale (str | float | dict): As in MMEngine, for float16. Defaults to ``'dynamic'``.
        **kwargs: As in MMEngine's ``OptimWrapper``: ``optimizer``, ``clip_grad``,
            ``accumulative_counts``.

    Raises:
        ConfigError: No half precision, or one that the device has not.
    """

    def __init__(
        self,
        dtype: Optional[Union[str, torch.dtype]] = None,
        loss_scale: Union[str, float, dict] = 'dynamic',
        **kwargs,
    ) -> None:
        # MMEngine's own would refuse a machine without a GPU.
        OptimWrapper.__init__(self, **kwargs)
        self.device_type = get_device().split(':')[0]
        self.cast_dtype = half_precision(dtype, self.device_type)
        scaled = self.cast_dtype is torch.float16
        self._scale_update_param = None
        settings = {}
        if isinstance(loss_scale, (int, float)):
            settings = dict(init_scale=float(loss_scale))
            self._scale_update_param = float(loss_scale)
        elif isinstance(loss_scale, dict):
            settings = loss_scale
        elif loss_scale != 'dynamic':
            raise ConfigError(
                f"AmpOptimWrapper(loss_scale={loss_scale!r}): give 'dynamic', a number or a dict"
            )
        self.loss_scaler = grad_scaler(self.device_type, **settings, enabled=scaled)

    def load_state_dict(self, state_dict: dict) -> None:
        """Resume, also from a run without loss scaling."""
        if not state_dict.get('loss_scaler', True):
            state_dict.pop('loss_scaler')
        super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Half precision for the forward pass of a step.

        Args:
            model (nn.Module): The model that is trained.
        """
        with (
            OptimWrapper.optim_context(self, model),
            torch.autocast(self.device_type, self.cast_dtype),
        ):
            yield


def half_precision(dtype: Optional[Union[str, torch.dtype]], device_type: str) -> torch.dtype:
    """The half precision to train in.

    Args:
        dtype (str | torch.dtype, optional): As asked for.
        device_type (str): ``'cpu'``, ``'cuda'`` and so on.

    Raises:
        ConfigError: It is none, or the device has not got it.
    """
    has_bfloat16 = (
        device_type != 'cuda'
        or torch.version.hip is not None
        or torch.cuda.get_device_capability() >= (8, 0)
    )
    if dtype is None:
        return torch.bfloat16 if has_bfloat16 else torch.float16
    chosen = HALVES.get(str(dtype).removeprefix('torch.'))
    if chosen is None:
        raise ConfigError(f'AmpOptimWrapper(dtype={str(dtype)!r}): choose from {list(HALVES)}')
    if chosen is torch.bfloat16 and not has_bfloat16:
        raise ConfigError(
            "AmpOptimWrapper: this GPU has no bfloat16; set optim_wrapper.dtype='float16'"
        )
    if chosen is torch.float16 and device_type == 'cpu' and not hasattr(torch.amp, 'GradScaler'):
        raise ConfigError(
            f'AmpOptimWrapper: torch {torch.__version__} has no float16 on a CPU; set '
            "optim_wrapper.dtype='bfloat16', or take torch 2.3"
        )
    return chosen


def grad_scaler(device_type: str, **settings) -> torch.cuda.amp.GradScaler:
    """torch's loss scaler, from where this torch has it.

    Args:
        device_type (str): ``'cpu'``, ``'cuda'`` and so on.
        **settings: Of ``GradScaler``.
    """
    if hasattr(torch.amp, 'GradScaler'):  # from torch 2.3 on
        return torch.amp.GradScaler(device_type, **settings)
    return torch.cuda.amp.GradScaler(**settings)
