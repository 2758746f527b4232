"""Layers and softmax by their definition."""

import numpy as np
import torch
import torch.nn.functional as F


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
