"""The shipped digits network, and its deepest exit as a plain one."""

from pathlib import Path

import torch
from run import RECIPES

WEIGHTS = next((RECIPES / 'weights').glob('byot_resnet18_2xb64_digits-*.pth'))
PLAIN = RECIPES / 'plain_resnet18_2xb64_digits.py'
TRUNK = 'architecture.'


def plain_weights(path: Path) -> Path:
    """Write the weights that the plain recipe has of the shipped network."""
    state = torch.load(WEIGHTS, weights_only=False)['state_dict']
    torch.save(
        dict(
            state_dict={
                name.removeprefix(TRUNK): value
                for name, value in state.items()
                if name.startswith(TRUNK)
            }
        ),
        path,
    )
    return path
