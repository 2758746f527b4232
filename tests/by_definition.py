"""Layers and softmax by their definition."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def shake(module):
    """Weights and statistics of BN away from 0 and 1; for evaluation."""
    torch.manual_seed(0)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias)
            nn.init.normal_(m.running_mean)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
    module.eval()  # not chained: mmpretrain's backbones return None
    return module


def norm(x, bn):
    """A BatchNorm2d in eval mode."""
    return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias)


def conv_bn_relu(x, module):
    """A ConvModule in eval mode, by its definition."""
    conv, bn = module.conv, module.bn
    x = F.conv2d(x, conv.weight, None, conv.stride, conv.padding)
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    shift = bn.bias - bn.running_mean * scale
    return (x * scale[:, None, None] + shift[:, None, None]).clamp(min=0)


def softmax(scores):
    """Of the last axis of an array."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
