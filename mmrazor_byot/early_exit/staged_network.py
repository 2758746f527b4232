"""A trained network that can stop after any of its sections."""

import warnings
from typing import Optional, Tuple

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.fx import GraphModule

from mmrazor_byot.compat import symbolic_batch
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.sections import eval_no_grad

from .split import split_stages

State = Tuple[Tensor, ...]

#: What torch.export, or code that it runs on stubs, raises.
UNTRACEABLE = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError)


class StagedNetwork(nn.Module):
    """Section by section: computing an exit runs nothing after it.

    The network is traced once (torch.export), and its graph cut between the exits; no backbone
    needs to know. It shares its weights with the model, and computes what the model does in
    evaluation.

    Args:
        model (BaseModel): A BYOT network, on the device where it is to run.

    Raises:
        ConfigError: It has no exits, or cannot be cut.

    Examples:
        >>> network = StagedNetwork(model)
        >>> state, logits = network.stage(1, (images, ))
        >>> state, logits = network.stage(2, state)  # goes on from there
    """

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        if getattr(model, 'num_exits', 1) < 2:
            raise ConfigError(
                f'{type(model).__name__} has one exit: there is nothing to leave early from; give '
                'a BYOT network'
            )
        self.num_exits = model.num_exits
        self.num_classes = model.num_classes
        self.input_size = model.input_size
        stages = split_stages(_trace(model))
        self.trunks = nn.ModuleList(s.trunk for s in stages[:-1])
        self.heads = nn.ModuleList(s.head for s in stages)

    def stage(self, number: int, state: State, read: bool = True) -> Tuple[State, Optional[Tensor]]:
        """Go on to the next exit.

        Args:
            number (int): The exit, 1 to C.
            state (tuple[Tensor]): Of the stage before, each (N, ...); for stage 1, the preprocessed
                images (N, 3, H, W).
            read (bool): Whether to run the exit's head. Defaults to True.

        Returns:
            tuple: The state for the next stage, empty after the last; logits (N, K), or None.
        """
        if number == self.num_exits:
            return (), self.heads[-1](*state)
        state, head_inputs = self.trunks[number - 1](*state)
        return state, self.heads[number - 1](*head_inputs) if read else None

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """The logits (N, K) of exit 1 to C."""
        state, answers = (images,), []
        for number in range(1, self.num_exits + 1):
            state, logits = self.stage(number, state)
            answers.append(logits)
        return tuple(answers)


class _Logits(nn.Module):
    """Images to the logits of all exits, as torch.export wants it."""

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        return self.model(images, mode='tensor')


def _trace(model: BaseModel) -> GraphModule:
    weight = next(model.parameters())
    images = torch.zeros(2, *model.input_size).to(weight)
    batch = torch.export.Dim('batch', max=2**31)  # an end, as torch may take a slice for one
    try:
        with eval_no_grad(model), warnings.catch_warnings(), symbolic_batch():
            warnings.simplefilter('ignore')
            program = torch.export.export(
                _Logits(model), (images,), dynamic_shapes=({0: batch},), strict=False
            )
            # Nothing may change a tensor that a later stage still needs.
            return program.run_decompositions({}).module()
    except UNTRACEABLE as e:
        backbone = type(model.architecture.backbone).__name__
        reason = str(e).strip() or type(e).__name__
        raise ConfigError(
            f'{backbone} cannot be cut into stages: torch.export could not trace it: '
            f'{reason.splitlines()[0]}'
        ) from e
