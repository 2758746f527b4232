"""Networks whose answers differ from image to image."""

import torch
from recipes import load
from torch import nn

from mmrazor_byot.registry import MODELS

#: Swin's windows of 7 x 7 need that much of the last map.
SMALLEST = {'byot_swin-tiny_16xb64_in1k': 224}


def recipe_network(name: str):
    """A recipe's network for images as small as it can take, made lively."""
    cfg = load(name)
    size = SMALLEST.get(name, min(cfg.model.input_size, 64))
    cfg.model.update(input_size=size, data_preprocessor=cfg.data_preprocessor)
    return lively(MODELS.build(cfg.model))


def lively(model):
    """Give a network weights with which nothing dies out on the way.

    Norms get scales, shifts and statistics of their own, layer scales and tables of biases
    something other than nothing.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1 or not parameter.any():
                parameter += torch.rand_like(parameter) / 2
        for norm in norms:
            norm.momentum = 1
        model.train()
        model(torch.randn(8, *model.input_size))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    model.eval()
    return model
