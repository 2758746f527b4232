"""How flat the minimum is: accuracy while noise moves the weights."""

import copy
import itertools
from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from rich.progress import track
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation.collect import Logits, network_inputs, run_over
from mmrazor_byot.evaluation.complexity import exit_parameters
from mmrazor_byot.evaluation.exit_accuracy import label_ranks


def measure_flatness(
    model: BaseModel,
    batches: Sequence[dict],
    sigmas: Sequence[float],
    draws: int = 3,
    seed: int = 0,
    relative: bool = False,
) -> dict:
    r"""Accuracy and cross entropy of a copy with Gaussian noise on its weights.

    Weight :math:`w` becomes :math:`w + \sigma n`, with :math:`n \sim N(0, 1)`; with ``relative`` it
    becomes :math:`w + \sigma s n`, where :math:`s` is the standard deviation of its tensor. All
    sigmas share the draws n, and so do networks of one architecture, with and without exits.
    Batch-norm statistics stay as they are.

    Args:
        model (BaseModel): BYOT, or a plain classifier, which has one exit.
        batches (Sequence[dict]): Labelled images, as a loader gives them.
        sigmas (Sequence[float]): S amounts of noise, not negative.
        draws (int): How often noise is drawn, R.
        seed (int): Of the draws, 0 or more.
        relative (bool): See above.

    Returns:
        dict: ``exits`` (names of E: exit 1 to C and, where there is more than one, the ensemble),
        ``weights`` (how many numbers the noise moves that the deepest exit depends on), and by
        exit, sigma and draw ``top1`` (%) and ``loss`` (nats), (E, S, R).

    Raises:
        ConfigError: A sigma or ``draws`` out of range.
    """
    check_noise(sigmas, draws)
    image, _ = network_inputs(model, batches[0])
    model = copy.deepcopy(model)
    weights, deepest = noisy_weights(model, image.shape[1:])
    at_rest = [weight.detach().clone() for weight in weights]
    count = getattr(model, 'num_exits', 1)
    names = [f'{i + 1}/{count}' for i in range(count)] + ['ensemble'] * (count > 1)
    found = np.empty((2, len(sigmas), draws, len(names)))
    steps = list(itertools.product(range(draws), enumerate(sigmas)))
    for draw, (i, sigma) in track(steps, 'Noise', transient=True):
        if i == 0:
            noise = draw_noise(at_rest, (seed, draw), relative)
        if draw and not sigma:  # without noise once is enough
            found[:, i, draw] = found[:, i, 0]
            continue
        for weight, value, step in zip(weights, at_rest, noise):
            weight.data.copy_(value.add(step, alpha=sigma))
        found[:, i, draw] = score_exits(run_over(model, batches))
    top1, loss = found.transpose(0, 3, 1, 2)
    moved = sum(weight.numel() for weight in weights[:deepest])
    return dict(exits=names, weights=moved, top1=top1, loss=loss)


def check_noise(sigmas: Sequence[float], draws: int) -> None:
    """Refuse what noise cannot be drawn with.

    Raises:
        ConfigError: A sigma or ``draws`` out of range.
    """
    wrong = [s for s in sigmas if not 0 <= s < float('inf')]
    if wrong or not len(sigmas):
        raise ConfigError(f'sigmas {wrong or "(none)"}: give standard deviations, 0 or more')
    if draws < 1:
        raise ConfigError(f'draws={draws}: noise is drawn at least once')


def noisy_weights(model: BaseModel, input_size: Sequence[int]) -> Tuple[List[nn.Parameter], int]:
    """The weights that noise is put on.

    Those of convolutions and linear layers: parameters of more than one dimension that the logits
    of an exit depend on. Biases and batch norm's scales are left alone, as their size says nothing
    about that of the weights.

    Args:
        model (BaseModel): BYOT, or a plain classifier.
        input_size (Sequence[int]): (C, H, W) of an image.

    Returns:
        tuple: The weights, first those of the deepest exit, so that a plain network of the same
        architecture gets the same noise; and how many of them these are.
    """
    exits = exit_parameters(model, input_size)
    deepest = set(exits[-1])
    others = {name for names in exits for name in names} - deepest
    named = {name: p for name, p in model.named_parameters() if p.ndim > 1}
    own = [p for name, p in named.items() if name in deepest]
    return own + [p for name, p in named.items() if name in others], len(own)


def draw_noise(weights: Sequence[Tensor], seed: Sequence[int], relative: bool) -> List[Tensor]:
    """Noise for sigma = 1, shaped as the weights, on their devices."""
    generator = np.random.default_rng(seed)
    noise = []
    for weight in weights:
        normal = generator.standard_normal(tuple(weight.shape), np.float32)
        scale = weight.std(unbiased=False) if relative else 1
        noise.append(torch.from_numpy(normal).to(weight) * scale)
    return noise


def score_exits(data: Logits) -> Tuple[List[float], List[float]]:
    """Top-1 accuracy (%) and cross entropy (nats) of each exit and of the ensemble.

    The ensemble is the mean of all exits' softmax; one exit has none.
    """
    labels = torch.from_numpy(data.labels)
    scores = torch.from_numpy(data.logits).log_softmax(-1)  # (M, C, K)
    count = scores.shape[1]
    if count > 1:
        mean = scores.logsumexp(1, keepdim=True) - np.log(count)
        scores = torch.cat([scores, mean], dim=1)
    right = label_ranks(scores, labels, 1) < 1
    losses = [F.nll_loss(column, labels).item() for column in scores.unbind(1)]
    return (100 * right.double().mean(0)).tolist(), losses


def summary(found: dict) -> List[Dict[str, object]]:
    """Mean and standard deviation over the draws.

    Args:
        found (dict): Of :func:`measure_flatness`.

    Returns:
        list[dict]: For each exit its name ``exit``, and for each sigma, (S), ``top1``,
        ``top1_std``, ``loss`` and ``loss_std``. The deviations are those of a sample, 0 for a
        single draw.
    """
    ddof = int(found['top1'].shape[-1] > 1)
    rows = []
    for i, name in enumerate(found['exits']):
        row: Dict[str, object] = dict(exit=name)
        for key in ('top1', 'loss'):
            values = found[key][i]
            row[key] = values.mean(-1)
            row[f'{key}_std'] = values.std(-1, ddof=ddof)
        rows.append(row)
    return rows
