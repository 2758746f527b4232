"""Export a trained early-exit network as one ONNX file."""

import os
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Union

import torch
from mmengine.config import Config
from onnx import ModelProto
from torch import Tensor

from mmrazor_byot.apis.model import class_names, get_model
from mmrazor_byot.datasets import per_image
from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    ExitPolicy,
    FixedExitPolicy,
    RecordedNetwork,
    StagedNetwork,
    read_policy,
)
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation import stage_flops
from mmrazor_byot.evaluation.finite import check_logits
from mmrazor_byot.files import PathLike, atomic_path, sha256
from mmrazor_byot.models.algorithms import BYOT
from mmrazor_byot.runtime import EarlyExitModel, Metadata
from mmrazor_byot.runtime.metadata import append_sha256
from mmrazor_byot.runtime.model import NEVER
from mmrazor_byot.table import format_table
from mmrazor_byot.version import __version__
from mmrazor_byot.zoo import download

from .check import TOLERANCE, check_file
from .graph import early_exit_graph
from .policy_nodes import check_supported, default_thresholds, used_exits
from .preprocessing import preprocessing, resize_steps
from .quantize import quantize_stages
from .recipe_images import labelled_batches, reference
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
    """The result of :func:`export_onnx`.

    Attributes:
        metadata (Metadata): Metadata of the file.
        difference (float): Largest difference of a score from torch's, in fp32.
        accuracy (dict): Precision to its :class:`Accuracy`; empty with ``no_data``.
    """

    metadata: Metadata
    difference: float
    accuracy: Dict[str, Accuracy]


def export_onnx(
    cfg: Config,
    checkpoint: str,
    out: PathLike,
    policy: Union[str, Path, None] = None,
    exit_number: Optional[int] = None,
    int8: bool = False,
    all_scores: bool = False,
    no_data: bool = False,
) -> Export:
    """Export a network, and check the file against torch.

    Args:
        cfg (Config): Config of the trained BYOT network, read from a file.
        checkpoint (str): Its checkpoint: file, URL or ``zoo://NAME``.
        out (str | Path): File to write; an older one is replaced.
        policy (str | Path, optional): Policy file. By default all exits are exported, and images
            run to the deepest unless the caller passes thresholds.
        exit_number (int, optional): Export the network cut at this exit instead of a policy.
        int8 (bool): Quantize the network to 8 bits. Defaults to False.
        all_scores (bool): Also output the scores of every exit. Defaults to False.
        no_data (bool): Do not read the data set: compare with torch on random pixels and measure no
            accuracy. Defaults to False.

    Raises:
        ByotError: The network cannot be exported with these arguments, or the file differs from
            torch. Nothing is written.
    """
    if int8 and no_data:
        raise ConfigError('--int8 is calibrated on real images: leave --no-data out')
    with atomic_path(out) as temporary:
        network = get_model(cfg, checkpoint)
        chosen = _choose_policy(network, policy, exit_number)
        prepare = preprocessing(cfg, network)
        metadata = _metadata(cfg, checkpoint, network, chosen)
        measured = chosen
        if policy is None and exit_number is None:
            measured = FixedExitPolicy()
            metadata.thresholds = [NEVER] * len(metadata.thresholds)
        images, logits = reference(cfg, network, QUANTIZED if int8 else CHECKED, no_data)
        exits = used_exits(chosen, network.num_exits)
        check_logits(logits[:, [i - 1 for i in exits]], exits)
        variants = dict(fp32=export_stages(StagedNetwork(network), prepare, exits))
        if int8:
            variants['int8'] = quantize_stages(variants['fp32'], images)
        images, logits = images[:CHECKED], logits[:CHECKED]
        accuracy, difference, tolerance = {}, 0.0, TOLERANCE
        classes = network._dataset_meta.get('classes')
        for precision, stages in variants.items():
            metadata.precision = precision
            if not no_data:
                result = accuracy[precision] = _measure_accuracy(cfg, stages, measured, classes)
                metadata.policy_top1 = round(result.policy, 3)
                for row in metadata.exits:
                    row['top1'] = round(result.exits[row['exit']], 3)
            if precision == 'int8':
                logits, tolerance = StageSessions(stages).logits(images), INT8_TOLERANCE
            write_model(temporary, early_exit_graph(stages, chosen, all_scores), metadata)
            file = EarlyExitModel(temporary, threads=1)
            found = check_file(file, chosen, images, logits, tolerance)
            difference = difference or found  # of fp32, which comes first
    return Export(metadata, difference, accuracy)


def _choose_policy(
    network: BYOT, policy: Union[str, Path, None], exit_number: Optional[int]
) -> ExitPolicy:
    count = network.num_exits
    if exit_number is not None:
        if not 1 <= exit_number <= count:
            raise ConfigError(f'--exit {exit_number}: the network has the exits 1 to {count}')
        return FixedExitPolicy(exit_number)
    if policy is None:
        return ConfidencePolicy(1.0)  # export_onnx replaces the thresholds
    file = read_policy(policy)
    file.check(count, network.num_classes)
    check_supported(file.policy)
    return file.policy


def _metadata(cfg: Config, checkpoint: str, network: BYOT, policy: ExitPolicy) -> Metadata:
    """The metadata of an fp32 file, without accuracies."""
    costs = stage_flops(network, network.input_size)
    file: PathLike = checkpoint
    if checkpoint.startswith('zoo://'):
        file = download(checkpoint[len('zoo://') :], progress=False)
    exits, heads = [], 0
    for number in used_exits(policy, network.num_exits):
        heads += costs['heads'][number - 1]
        exits.append(dict(exit=number, macs=sum(costs['sections'][:number]) + heads, top1=None))
    return Metadata(
        recipe=Path(cfg.filename).stem,
        precision='fp32',
        num_exits=network.num_exits,
        num_classes=network.num_classes,
        input_size=[int(n) for n in network.input_size[1:]],
        resize=resize_steps(per_image(cfg.test_dataloader).dataset.pipeline),
        exits=exits,
        thresholds=default_thresholds(policy, network.num_exits),
        policy=policy.config(),
        policy_top1=None,
        classes=class_names(network),
        checkpoint=checkpoint.rsplit('/', 1)[-1],
        checkpoint_sha256=sha256(file) if os.path.isfile(file) else '',
        license=cfg.get('license', 'not stated'),
        version=__version__,
    )


def _measure_accuracy(
    cfg: Config, stages: List[ExportedStage], policy: ExitPolicy, classes: Optional[Sequence[str]]
) -> Accuracy:
    """Accuracy on the recipe's test images, through ONNX Runtime."""

    def percentage(mask: Tensor) -> float:
        return 100 * mask.double().mean().item()

    sessions = StageSessions(stages)
    batches = [
        (sessions.logits(images), labels) for images, labels in labelled_batches(cfg, classes)
    ]
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
