"""A short training of exits on a frozen network; any other loop will do, see ``ExitNetwork``."""

from typing import List

import torch

from mmrazor_byot.errors import ConfigError

from .kept_maps import KeptMaps
from .network import ExitNetwork


def train_exits(
    model: ExitNetwork,
    maps: KeptMaps,
    epochs: int = 32,
    lr: float = 3e-3,
    weight_decay: float = 1e-2,
    batch_size: int = 64,
) -> List[float]:
    """Train the exit heads of a frozen network with AdamW and a one-cycle schedule.

    Args:
        model (ExitNetwork): The network, left in evaluation mode.
        maps (KeptMaps): Its feature maps; an epoch has one view of each image.
        epochs (int): Number of epochs. Defaults to 32.
        lr (float): The highest learning rate. Defaults to 3e-3.
        weight_decay (float): Of AdamW. Defaults to 1e-2.
        batch_size (int): Defaults to 64.

    Returns:
        list[float]: The mean loss of each epoch.

    Raises:
        ConfigError: The number of epochs is not positive.

    Examples:
        >>> model = add_exits(net, ['layer2', 'layer3'], 224, label_loss=None, freeze=True)
        >>> train_exits(model, keep_maps(model, loader, views=8))
    """
    if epochs < 1:
        raise ConfigError(f'train_exits: epochs={epochs}; at least 1')
    loader, weight = maps.loader(batch_size), next(model.exit_heads.parameters())
    optimizer = torch.optim.AdamW(model.exit_heads.parameters(), lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, epochs=epochs, steps_per_epoch=len(loader), pct_start=0.2
    )
    means = []
    model.train()
    for _ in range(epochs):
        total = torch.zeros((), device=weight.device)
        for sections, target in loader:
            sections = sections.to(weight.device)
            target = None if target is None else target.to(weight.device)
            loss = torch.stack(list(model.loss(sections, target).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        means.append(total.item() / len(loader))
    model.eval()
    return means
