"""Write a network with exits as one ONNX file, and check it against torch."""

from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn

from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    ExitPolicy,
    FixedExitPolicy,
    PolicyFile,
    RecordedNetwork,
    StagedNetwork,
    ThresholdPolicy,
    read_policy,
)
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation import stage_flops
from mmrazor_byot.evaluation.collect import Network
from mmrazor_byot.evaluation.finite import check_logits
from mmrazor_byot.files import PathLike
from mmrazor_byot.runtime import EarlyExitModel, Metadata
from mmrazor_byot.runtime.metadata import append_sha256
from mmrazor_byot.runtime.model import NEVER
from mmrazor_byot.table import format_table
from mmrazor_byot.version import __version__

from .check import TOLERANCE, check_file
from .graph import early_exit_graph
from .policy_nodes import check_supported, default_thresholds, used_exits
from .quantize import quantize_stages
from .stages import ExportedStage, StageSessions, export_stages

#: Number of images that are compared with torch.
CHECKED = 64
#: Number of images for the calibration of int8.
QUANTIZED = 256
#: 8-bit rounding of values close to a half may differ between batch sizes.
INT8_TOLERANCE = 0.05


class Accuracy(NamedTuple):
    """Results of one precision on the test images.

    Attributes:
        exits (dict): Number of an exit to its top-1 in percent.
        policy (float): Top-1 of the policy in percent.
        stops (dict): Number of an exit to the percentage of images that stop there.
    """

    exits: Dict[int, float]
    policy: float
    stops: Dict[int, float]


class Export(NamedTuple):
    """The result of :func:`write_export`; it prints as a table.

    Attributes:
        metadata (Metadata): Metadata of the file.
        difference (float): Largest difference of a score from torch's, in fp32.
        accuracy (dict): Precision to its :class:`Accuracy`; empty without test images.
    """

    metadata: Metadata
    difference: float
    accuracy: Dict[str, Accuracy]

    def __str__(self) -> str:
        return format_export(self)


class Source(NamedTuple):
    """What an export needs besides the network.

    Attributes:
        name (str): Name of the recipe.
        prepare (nn.Module): The first part of the graph, from (N, H, W, 3) uint8 RGB.
        resize (list[dict]): Steps of :func:`mmrazor_byot.runtime.resize.prepare`.
        classes (list[str]): Names of the classes.
        images (np.ndarray): To compare with torch, and to calibrate int8, (N, H, W, 3) uint8 RGB.
        logits (Tensor): Of every exit for these images in torch, (N, C, K).
        test (Callable, optional): Returns batches of images and labels to measure accuracy on.
        checkpoint, checkpoint_sha256 (str): Name and sha256 of the checkpoint.
        license (str): License of the weights.
    """

    name: str
    prepare: nn.Module
    resize: List[dict]
    classes: List[str]
    images: np.ndarray
    logits: Tensor
    test: Optional[Callable[[], Iterable[Tuple[np.ndarray, Tensor]]]] = None
    checkpoint: str = ''
    checkpoint_sha256: str = ''
    license: str = 'not stated'


def write_export(
    network: Network,
    source: Source,
    out: Path,
    policy: ExitPolicy,
    all_exits: bool = False,
    int8: bool = False,
    all_scores: bool = False,
) -> Export:
    """Write a network as one file, and check it against torch.

    Args:
        network (BYOT | ExitNetwork): The network on the CPU, in evaluation mode.
        source (Source): What else it needs.
        out (Path): The file.
        policy (ExitPolicy): Decides at which exit an image stops.
        all_exits (bool): Whether this policy only says which exits are exported: without thresholds
            of the caller, images run to the deepest. Defaults to False.
        int8, all_scores: See :func:`export_onnx`.

    Raises:
        ByotError: The network cannot be exported, or the file differs from torch.
    """
    exits = used_exits(policy, network.num_exits)
    metadata = _metadata(network, source, policy)
    measured = policy
    if all_exits and isinstance(policy, ThresholdPolicy):
        measured = FixedExitPolicy()
        metadata.thresholds = [NEVER] * len(metadata.thresholds)
    images, logits = source.images, source.logits
    check_logits(logits[:, [i - 1 for i in exits]], exits)
    variants = dict(fp32=export_stages(StagedNetwork(network), source.prepare, exits))
    if int8:
        variants['int8'] = quantize_stages(variants['fp32'], images)
    images, logits = images[:CHECKED], logits[:CHECKED]
    accuracy, difference, tolerance = {}, 0.0, TOLERANCE
    for precision, stages in variants.items():
        metadata.precision = precision
        if source.test is not None:
            result = accuracy[precision] = _measure_accuracy(source.test(), stages, measured)
            metadata.policy_top1 = round(result.policy, 3)
            for row in metadata.exits:
                row['top1'] = round(result.exits[row['exit']], 3)
        if precision == 'int8':
            logits, tolerance = StageSessions(stages).logits(images), INT8_TOLERANCE
        write_model(out, early_exit_graph(stages, policy, all_scores), metadata)
        file = EarlyExitModel(out, threads=1)
        found = check_file(file, policy, images, logits, tolerance)
        difference = difference or found  # of fp32, which comes first
    return Export(metadata, difference, accuracy)


def choose_policy(
    network: Network, policy: Union[PathLike, PolicyFile, None], exit_number: Optional[int]
) -> ExitPolicy:
    """The policy of a file, one exit for all images, or all exits with thresholds of the caller."""
    count = network.num_exits
    if exit_number is not None:
        if not 1 <= exit_number <= count:
            raise ConfigError(f'--exit {exit_number}: the network has the exits 1 to {count}')
        return FixedExitPolicy(exit_number)
    if policy is None:
        return ConfidencePolicy(1.0)  # write_export replaces the thresholds
    file = policy if isinstance(policy, PolicyFile) else read_policy(policy)
    file.check(count, network.num_classes)
    check_supported(file.policy)
    return file.policy


def _metadata(network: Network, source: Source, policy: ExitPolicy) -> Metadata:
    """The metadata of an fp32 file, without accuracies."""
    costs = stage_flops(network, network.input_size)
    exits, heads = [], 0
    for number in used_exits(policy, network.num_exits):
        heads += costs['heads'][number - 1]
        exits.append(dict(exit=number, macs=sum(costs['sections'][:number]) + heads, top1=None))
    return Metadata(
        recipe=source.name,
        precision='fp32',
        num_exits=network.num_exits,
        num_classes=network.num_classes,
        input_size=[int(n) for n in network.input_size[1:]],
        resize=source.resize,
        exits=exits,
        thresholds=default_thresholds(policy, network.num_exits),
        policy=policy.config(),
        policy_top1=None,
        classes=source.classes,
        checkpoint=source.checkpoint,
        checkpoint_sha256=source.checkpoint_sha256,
        license=source.license,
        version=__version__,
    )


def _measure_accuracy(
    test: Iterable[Tuple[np.ndarray, Tensor]], stages: List[ExportedStage], policy: ExitPolicy
) -> Accuracy:
    """Accuracy on test images, through ONNX Runtime."""

    def percentage(mask: Tensor) -> float:
        return 100 * mask.double().mean().item()

    sessions = StageSessions(stages)
    batches = [(sessions.logits(images), labels) for images, labels in test]
    logits, labels = map(torch.cat, zip(*batches))
    result = RecordedNetwork(logits).run(policy)
    used = [stage.number for stage in stages]
    return Accuracy(
        exits={i: percentage(logits[:, i - 1].argmax(-1) == labels) for i in used},
        policy=percentage(result.scores.argmax(-1) == labels),
        stops={i: percentage(result.exits == i) for i in used},
    )


def write_model(path: PathLike, model: ModelProto, metadata: Metadata) -> None:
    """Write a graph with its metadata and sha256."""
    for key, value in metadata.props().items():
        model.metadata_props.add(key=key, value=value)
    Path(path).write_bytes(append_sha256(model.SerializeToString()))


def format_export(export: Export) -> str:
    """Format a table of the exits and the policy, in every precision."""
    metadata = export.metadata
    head = ['exit', 'threshold', 'MACs (G)']
    thresholds = [f'{t:.4g}' for t in metadata.thresholds] + ['-'] * len(metadata.exits)
    rows = [
        [f'{row["exit"]}/{metadata.num_exits}', threshold, f'{row["macs"] / 1e9:.3g}']
        for row, threshold in zip(metadata.exits, thresholds)
    ]
    last = [metadata.policy['type'], '', '-']
    for precision, accuracy in export.accuracy.items():
        head += [f'stop here, {precision} (%)', f'top-1, {precision} (%)']
        for cells, row in zip(rows, metadata.exits):
            cells += [f'{accuracy.stops[row["exit"]]:.1f}', f'{accuracy.exits[row["exit"]]:.2f}']
        macs = sum(accuracy.stops[row['exit']] * row['macs'] for row in metadata.exits) / 100
        last[2] = f'{macs / 1e9:.3g}'
        last += ['', f'{accuracy.policy:.2f}']
    return (
        f'{metadata.recipe} in {metadata.precision}: scores in fp32 within {export.difference:.2g} '
        f'of torch\n{format_table([head, *rows, last])}'
    )
