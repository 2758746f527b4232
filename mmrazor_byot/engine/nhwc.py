"""What torch on a CPU cannot do in NHWC, and must not be asked for."""

from torch import nn

from mmrazor_byot.errors import ConfigError

#: oneDNN's block of channels; 8 without AVX-512.
BLOCK = 16


def check_narrow_convolutions(model: nn.Module, switch: str) -> None:
    """Refuse a network that would overwrite memory in NHWC on a CPU.

    The weight gradient of a 1 x 1 convolution with a stride is computed in a
    buffer that is too small where there are fewer channels than a block
    (oneDNN issue 6035): the run crashes, hangs or learns nonsense.

    Args:
        model (nn.Module): The network.
        switch (str): What would bring it to NHWC, for the message.

    Raises:
        ConfigError: It has such a convolution, and is on a CPU.
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
                f'{switch}: on a CPU, torch overwrites memory in 1 x 1 '
                'convolutions with a stride and fewer than '
                f'{BLOCK} input channels, such as {name} with '
                f'{module.in_channels} (oneDNN issue 6035); leave {switch} '
                'out, or take a wider network'
            )
