"""A trained network that can stop after any section."""

import warnings
from typing import Optional, Tuple

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from mmrazor_byot.compat.torch import symbolic_batch
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation.collect import Network
from mmrazor_byot.exits import ExitNetwork
from mmrazor_byot.exits.shapes import eval_no_grad

from .run import State
from .split import split_stages

#: Raised by torch.export, or by code that it runs on fake tensors.
UNTRACEABLE = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError)


class StagedNetwork(nn.Module):
    """A network run section by section: an exit is computed without anything after it.

    The model is traced once (torch.export) and its graph cut between the exits, so any backbone
    that can be traced will do. The weights are shared with the model, and the logits are those of
    the model in evaluation mode.

    Args:
        model (BYOT | ExitNetwork): A network with exits, on the device where it is to run.

    Raises:
        ConfigError: The model has no exits, or cannot be cut.

    Examples:
        >>> network = StagedNetwork(model)
        >>> state, logits = network.stage(1, (images, ))
        >>> state, logits = network.stage(2, state)  # goes on from there
    """

    def __init__(self, model: Network) -> None:
        super().__init__()
        if getattr(model, 'num_exits', 1) < 2:
            raise ConfigError(
                f'{type(model).__name__} has one exit: early exit needs several: see add_exits'
            )
        self.num_exits = model.num_exits
        self.num_classes = model.num_classes
        self.input_size = model.input_size
        trunks, heads = split_stages(_trace(model))
        self.trunks, self.heads = nn.ModuleList(trunks), nn.ModuleList(heads)

    def stage(self, number: int, state: State, read: bool = True) -> Tuple[State, Optional[Tensor]]:
        """Run one stage.

        Args:
            number (int): The exit, 1 to C.
            state (tuple[Tensor]): The state after the stage before, each (N, ...); for stage 1, the
                preprocessed images (N, 3, H, W).
            read (bool): Whether to run the exit's head. Defaults to True; the deepest exit's always
                is.

        Returns:
            tuple: The state for the next stage, empty after the last; logits (N, K), or None.
        """
        if number == self.num_exits:
            return (), self.heads[-1](*state)
        state, head_inputs = self.trunks[number - 1](*state)
        return state, self.heads[number - 1](*head_inputs) if read else None

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """The logits (N, K) of exit 1 to C."""
        state: State = (images,)
        logits = []
        for trunk, head in zip(self.trunks, self.heads):
            state, head_inputs = trunk(*state)
            logits.append(head(*head_inputs))
        return (*logits, self.heads[-1](*state))


class _Logits(nn.Module):
    """Images to the logits of all exits, for torch.export."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        return self.model(images)


def _trace(model: Network) -> GraphModule:
    weight = next(model.parameters())
    images = torch.zeros(2, *model.input_size).to(weight)
    batch = torch.export.Dim('batch', max=2**31)  # without max, torch may infer one from a slice
    try:
        with eval_no_grad(model), warnings.catch_warnings(), symbolic_batch():
            warnings.simplefilter('ignore')
            program = torch.export.export(
                _Logits(model), (images,), dynamic_shapes=({0: batch},), strict=False
            )
            # Without in-place operations: a later stage may need the tensor.
            return program.run_decompositions({}).module()
    except UNTRACEABLE as e:
        if isinstance(model, ExitNetwork):
            net = model.net
        else:
            net = getattr(model.architecture, 'backbone', model.architecture)
        reason = str(e).strip() or type(e).__name__
        raise ConfigError(
            f'{type(net).__name__} cannot be cut into stages: torch.export could not trace it: '
            f'{reason.splitlines()[0]}'
        ) from e
