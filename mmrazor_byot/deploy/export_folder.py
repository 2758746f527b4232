"""Export a trained network as a folder that runs without torch."""

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Union

from mmengine.config import Config
from onnx import ModelProto, save

from mmrazor_byot.datasets import per_image
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation import exit_complexity, stage_flops
from mmrazor_byot.inference import StagedNetwork
from mmrazor_byot.models.algorithms import BYOT
from mmrazor_byot.policies import policy_text, read_policy
from mmrazor_byot.version import __version__

from .accuracy import measure_accuracy, measure_speed
from .deployed_network import DeployedNetwork
from .export import load_byot
from .manifest import NAME, Manifest, file_name, sha256
from .onnx_check import check_logits
from .onnx_export import (
    OPSET,
    check_opset,
    cut_exit,
    cut_trunk,
    export_stages,
)
from .preparation import preparation, resize_steps
from .quantize import quantized_parts
from .reference import Reference, reference


class Settings(NamedTuple):
    """What can be chosen about an export.

    Attributes:
        int8 (bool): Write 8-bit models too.
        policy (str | None): A policy file to put in.
        images (int): Calibration images, to check and quantize with.
        random_images (bool): Check on random pixels instead.
        eval_images (int | None): Test images for the accuracies; 0 measures
            none, None takes all.
        opset (int): Version of the ONNX operators.
        force (bool): Replace an exported folder.
    """

    int8: bool = False
    policy: Optional[str] = None
    images: int = 256
    random_images: bool = False
    eval_images: Optional[int] = None
    opset: int = OPSET
    force: bool = False


def export_folder(
    cfg: Config, checkpoint: str, out: Union[str, Path], settings: Settings
) -> Manifest:
    """Export a network; the folder appears when all is written and checked.

    Args:
        cfg (Config): Config of the trained BYOT network, read from a file.
        checkpoint (str): Its checkpoint: file, address or ``zoo://NAME``.
        out (str | Path): The folder.
        settings (Settings): See there.

    Returns:
        Manifest: What the folder holds.

    Raises:
        ByotError: Something does not fit, or the exported models do not
            answer as torch does; then nothing is written.
    """
    out = Path(out)
    check_target(out, settings.force)
    check_opset(settings.opset)
    if settings.int8 and settings.random_images:
        raise ConfigError('--int8 is calibrated on real images: leave --random-images out')
    if settings.eval_images is not None and settings.eval_images < 0:
        raise ConfigError(f'--eval-images {settings.eval_images}: 0 or more')
    model, _, meta = load_byot(cfg, checkpoint)
    work = out.with_name(f'{out.name}.{os.getpid()}.tmp')
    try:
        with _writing(out):
            work.mkdir(parents=True)
        manifest = _describe(cfg, checkpoint, model, meta, settings)
        _fill(work, cfg, model, manifest, settings)
        with _writing(out):
            _rename(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return manifest


def check_target(out: Path, force: bool) -> None:
    """See whether a folder may be written.

    Raises:
        ConfigError: Something is in the way.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not force:
        raise ConfigError(
            f'{out} is there already: choose another --out, or replace it with --force'
        )
    if not (out / NAME).is_file():
        raise ConfigError(
            f'{out} is no exported network, so --force does not replace it: choose another --out'
        )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What goes wrong in here is about this path."""
    try:
        yield
    except OSError as e:
        raise ConfigError(f'cannot write {path}: {e.strerror or e}') from e


def _describe(
    cfg: Config, checkpoint: str, model: BYOT, meta: dict, settings: Settings
) -> Manifest:
    """All of the manifest that is known before the export."""
    policy = None
    if settings.policy is not None:
        found = read_policy(settings.policy)
        found.check(model.num_exits, model.num_classes)
        policy = json.loads(policy_text(found))
    classes = (meta.get('dataset_meta') or {}).get('classes') or ()
    if len(classes) != model.num_classes:  # of no use, whatever they name
        classes = ()
    source = Path(cfg.filename)
    preparation(cfg, model)  # its error comes before the work
    flops = stage_flops(model, model.input_size)
    return Manifest(
        network=source.stem,
        source=dict(
            config=source.name, checkpoint=checkpoint.rsplit('/', 1)[-1], mmrazor_byot=__version__
        ),
        opset=settings.opset,
        num_exits=model.num_exits,
        num_classes=model.num_classes,
        classes=[str(name) for name in classes] or None,
        input_size=[int(n) for n in model.input_size[1:]],
        resize=resize_steps(per_image(cfg.test_dataloader).dataset.pipeline),
        exits=exit_complexity(model, model.input_size),
        stages=[
            dict(section_flops=section, head_flops=head)
            for section, head in zip(flops['sections'], flops['heads'])
        ],
        files={},
        policy=policy,
    )


def _fill(work: Path, cfg: Config, model: BYOT, manifest: Manifest, settings: Settings) -> None:
    """Write, check and measure everything in a folder of its own."""
    known = reference(cfg, model, settings.images, settings.random_images)
    stages = export_stages(StagedNetwork(model), preparation(cfg, model), settings.opset)
    exits = [cut_exit(stages, i) for i in range(1, len(stages) + 1)]
    models: Dict[str, ModelProto] = {}
    for number, stage in enumerate(stages, start=1):
        manifest.stages[number - 1].update(inputs=stage.inputs, outputs=stage.outputs)
        models[file_name('exit', number)] = exits[number - 1]
        models[file_name('stage', number)] = stage.model
        trunk = cut_trunk(stage)
        if trunk is not None:
            models[file_name('trunk', number)] = trunk
    _write(work, manifest, 'fp32', models)
    networks = [DeployedNetwork(work, threads=1)]
    worst = check_logits(networks[0], known)
    manifest.check = dict(images=len(known.images), origin=known.origin, largest_difference=worst)
    if settings.int8:
        networks.append(_add_int8(work, manifest, networks[0], stages, exits, known))
    _measure(manifest, networks, cfg, settings.eval_images)
    with _writing(work):
        (work / NAME).write_text(manifest.text(), encoding='utf-8')


def _add_int8(
    work: Path,
    manifest: Manifest,
    network: DeployedNetwork,
    stages: list,
    exits: List[ModelProto],
    known: Reference,
) -> DeployedNetwork:
    models = {
        file_name(part, number, 'int8'): model
        for part, number, model in quantized_parts(network, stages, exits, known.images, work)
    }
    _write(work, manifest, 'int8', models)
    return DeployedNetwork(work, 'int8', threads=1)


def _measure(
    manifest: Manifest, networks: List[DeployedNetwork], cfg: Config, count: Optional[int]
) -> None:
    """Put accuracy and milliseconds of every exit into the manifest."""
    total = len(manifest.exits)
    rows = {n.precision: [dict(exit=row['exit']) for row in manifest.exits] for n in networks}
    if count != 0:
        limit = 1 << 62 if count is None else count
        rows = measure_accuracy(networks, cfg, limit)
    for precision, times in measure_speed(networks).items():
        for row, spent in zip(rows[precision], times + [None] * total):
            row['ms'] = spent
    manifest.results = rows


def _write(work: Path, manifest: Manifest, precision: str, models: Dict[str, ModelProto]) -> None:
    """Write the models of a precision, and the manifest that names them."""
    with _writing(work):
        for name, model in models.items():
            save(model, work / name)
        manifest.files[precision] = {name: sha256(work / name) for name in models}
        (work / NAME).write_text(manifest.text(), encoding='utf-8')


def _rename(work: Path, out: Path) -> None:
    """Put the finished folder in its place."""
    if not out.exists():
        work.rename(out)
        return
    old = work.with_suffix('.old')
    out.rename(old)
    try:
        work.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old)
