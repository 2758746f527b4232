"""The one check that all losses share."""

from torch import nn

from mmrazor_byot.errors import ConfigError


def checked_weight(loss: nn.Module, loss_weight: float) -> float:
    """Return the weight, or say what is wrong with it.

    Args:
        loss (nn.Module): The loss it belongs to, for the message.
        loss_weight (float): The weight.

    Raises:
        ConfigError: It is negative, infinite or NaN.
    """
    if not 0 <= loss_weight < float('inf'):
        raise ConfigError(
            f'{type(loss).__name__}(loss_weight={loss_weight}): a loss weight must be zero or '
            'positive; to leave a loss out, set it to None'
        )
    return loss_weight
