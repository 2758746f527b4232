"""How good and how fast the exits of an exported network are."""

from typing import Dict, List, Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.evaluation import ExitAccuracy, exit_rows
from mmrazor_byot.policies import softmax

from .deployed_network import DeployedNetwork
from .reference import loader_batches
from .timing import interleaved


def measure_accuracy(
    networks: Sequence[DeployedNetwork], cfg: Config, count: int
) -> Dict[str, List[dict]]:
    """Top-1 and top-5 on the recipe's test images, through ONNX Runtime.

    Args:
        networks (Sequence[DeployedNetwork]): In their precisions.
        cfg (Config): The recipe, with ``test_dataloader``.
        count (int): How many images at most.

    Returns:
        dict: Precision to rows of exit 1 to C and the ensemble: ``exit``,
        ``top1`` and, where there are more than five classes, ``top5``, in
        percent.

    Raises:
        DatasetError: The images cannot be read.
    """
    classes, exits = networks[0].num_classes, networks[0].num_exits
    topk = (1, 5) if classes > 5 else (1,)
    metrics = {network.precision: ExitAccuracy(topk) for network in networks}
    try:
        loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
        for batch, images in loader_batches(loader, cfg.test_dataloader, count):
            for network in networks:
                scores = torch.from_numpy(exit_scores(network, images))
                metrics[network.precision].process(
                    None,
                    [
                        dict(exit_scores=row, gt_label=sample.gt_label)
                        for row, sample in zip(scores, batch['data_samples'])
                    ],
                )
    except FileNotFoundError as e:
        raise DatasetError(
            f'the test images cannot be read ({e}); with --eval-images 0 no accuracy is measured'
        ) from e
    names = [dict(exit=f'{i + 1}/{exits}') for i in range(exits)]
    names.append(dict(exit='ensemble'))
    return {
        precision: exit_rows(names, metric.compute_metrics(metric.image_ranks()))
        for precision, metric in metrics.items()
    }


def exit_scores(network: DeployedNetwork, images: np.ndarray) -> np.ndarray:
    """Softmax of every exit, stage by stage.

    Args:
        network (DeployedNetwork): The network.
        images (np.ndarray): (N, H, W, 3) uint8 RGB.

    Returns:
        np.ndarray: (N, C, K) float32.
    """
    state, scores = (images,), []
    for number in range(1, network.num_exits + 1):
        state, logits = network.stage(number, state)
        scores.append(softmax(logits))
    return np.stack(scores, axis=1)


def measure_speed(
    networks: Sequence[DeployedNetwork], seconds: float = 0.2
) -> Dict[str, List[float]]:
    """Time the model cut at each exit on one image.

    Args:
        networks (Sequence[DeployedNetwork]): In their precisions.
        seconds (float): How long each is timed. Defaults to 0.2.

    Returns:
        dict: Precision to the median milliseconds of exit 1 to C.

    Raises:
        ConfigError: There is nothing to time.
    """
    if not networks:
        raise ConfigError('no network to time')
    image = np.zeros((1, *networks[0].input_size, 3), np.uint8)
    calls = {
        (network.precision, number): lambda network=network, number=number: network.exit_logits(
            number, image
        )
        for network in networks
        for number in range(1, network.num_exits + 1)
    }
    times = interleaved(calls, seconds)
    return {
        network.precision: [
            round(float(np.median(times[network.precision, i])) * 1e3, 4)
            for i in range(1, network.num_exits + 1)
        ]
        for network in networks
    }
