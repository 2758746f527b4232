"""Export a trained early-exit network as one ONNX file."""

import os
from functools import partial
from pathlib import Path
from typing import Optional, Union

from mmengine.config import Config

from mmrazor_byot.apis.model import class_names, get_model
from mmrazor_byot.datasets import per_image
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import PathLike, atomic_path, sha256
from mmrazor_byot.models.algorithms import BYOT
from mmrazor_byot.zoo import download

from .preprocessing import preprocessing, resize_steps
from .recipe_images import labelled_batches, reference
from .write_export import (
    CHECKED,
    QUANTIZED,
    Export,
    Source,
    choose_policy,
    write_export,
)


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
    """Export the network of a recipe, and check the file against torch.

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
        chosen = choose_policy(network, policy, exit_number)
        source = _recipe_source(cfg, checkpoint, network, QUANTIZED if int8 else CHECKED, no_data)
        return write_export(network, source, temporary, chosen, policy is None, int8, all_scores)


def _recipe_source(
    cfg: Config, checkpoint: str, network: BYOT, count: int, no_data: bool
) -> Source:
    """The source of a recipe, with so many training images, or random pixels."""
    prepare = preprocessing(cfg, network)
    images, logits = reference(cfg, network, count, no_data)
    trained = network._dataset_meta.get('classes')
    file: PathLike = checkpoint
    if checkpoint.startswith('zoo://'):
        file = download(checkpoint[len('zoo://') :], progress=False)
    return Source(
        name=Path(cfg.filename).stem,
        prepare=prepare,
        resize=resize_steps(per_image(cfg.test_dataloader).dataset.pipeline),
        classes=class_names(network),
        images=images,
        logits=logits,
        test=None if no_data else partial(labelled_batches, cfg, trained),
        checkpoint=checkpoint.rsplit('/', 1)[-1],
        checkpoint_sha256=sha256(file) if os.path.isfile(file) else '',
        license=cfg.get('license', 'not stated'),
    )
