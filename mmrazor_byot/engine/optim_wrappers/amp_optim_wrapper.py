"""Mixed precision on GPUs and CPUs, with loss scaling only for float16."""

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Union

import torch
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper as MMEngineAmpOptimWrapper
from mmengine.optim import OptimWrapper
from torch import nn

from mmrazor_byot.errors import ByotWarning, ConfigError
from mmrazor_byot.registry import OPTIM_WRAPPERS

DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(MMEngineAmpOptimWrapper):
    """MMEngine's mixed precision, also on a CPU.

    bfloat16 has the range of float32, so losses are not scaled and no step waits for the GPU to
    check gradients for overflow. With float16 they are scaled, as in MMEngine. A run can resume
    from a checkpoint of the other dtype.

    Args:
        dtype (str | torch.dtype, optional): ``'bfloat16'`` or ``'float16'``. Defaults to bfloat16,
            except on GPUs that only emulate it.
        loss_scale (str | float | dict): As in MMEngine, for float16. Defaults to ``'dynamic'``.
        **kwargs: As in MMEngine's ``OptimWrapper``: ``optimizer``, ``clip_grad``,
            ``accumulative_counts``.

    Raises:
        ConfigError: ``dtype`` or ``loss_scale`` is something else.
    """

    def __init__(
        self,
        dtype: Optional[Union[str, torch.dtype]] = None,
        loss_scale: Union[str, float, dict] = 'dynamic',
        **kwargs: Any,
    ) -> None:
        # MMEngine's AmpOptimWrapper refuses to run on a CPU.
        OptimWrapper.__init__(self, **kwargs)
        self.device_type = get_device().split(':')[0]
        self.cast_dtype = _half_precision(dtype, self.device_type)
        if self.device_type == 'cpu' and not _has_bfloat16():
            warnings.warn(
                'this processor has no bfloat16 instructions, so mixed precision is several '
                'times slower than float32: leave out --amp or set optim_wrapper.type=OptimWrapper',
                ByotWarning,
                stacklevel=2,
            )
        self._scale_update_param: Optional[float] = None
        settings: Dict[str, Any] = {}
        if isinstance(loss_scale, (int, float)):
            self._scale_update_param = float(loss_scale)
            settings = dict(init_scale=self._scale_update_param)
        elif isinstance(loss_scale, dict):
            settings = loss_scale
        elif loss_scale != 'dynamic':
            raise ConfigError(
                f"AmpOptimWrapper(loss_scale={loss_scale!r}): set 'dynamic', a number or a dict"
            )
        self.loss_scaler = torch.amp.GradScaler(
            self.device_type, **settings, enabled=self.cast_dtype is torch.float16
        )

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a state dict, also of a run without loss scaling."""
        if not state_dict.get('loss_scaler', True):
            state_dict.pop('loss_scaler')
        super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass in half precision."""
        with (
            OptimWrapper.optim_context(self, model),
            torch.autocast(self.device_type, self.cast_dtype),
        ):
            yield


def _has_bfloat16() -> bool:
    """Whether the processor has bfloat16 instructions; True where Linux does not say."""
    try:
        flags = Path('/proc/cpuinfo').read_text().split()
    except OSError:
        return True
    return bool({'amx_bf16', 'avx512_bf16', 'bf16'} & set(flags))


def _half_precision(dtype: Optional[Union[str, torch.dtype]], device_type: str) -> torch.dtype:
    if dtype is None:
        slow = device_type == 'cuda' and not torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.float16 if slow else torch.bfloat16
    name = str(dtype).removeprefix('torch.')
    if name not in DTYPES:
        raise ConfigError(f'AmpOptimWrapper(dtype={str(dtype)!r}): choose from {list(DTYPES)}')
    return DTYPES[name]
