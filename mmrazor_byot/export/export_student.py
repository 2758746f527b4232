"""Write a student: a config and a checkpoint, ready to publish."""

from pathlib import Path
from typing import Dict, NamedTuple, Optional, Tuple, Union

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import write_bytes, write_text
from mmrazor_byot.models.algorithms import BYOT
from mmrazor_byot.models.loading import load_byot
from mmrazor_byot.registry import MODELS

from .publish import checkpoint_bytes, hashed_name, plain_meta
from .student import student_config, student_weights

#: What torch, MMEngine and Python raise where a network was cut wrongly.
UNFIT = (
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    AssertionError,
    SyntaxError,
)


class ExportedStudent(NamedTuple):
    """What :func:`export_student` has written.

    Attributes:
        config (Path): Config file of mmpretrain.
        checkpoint (Path): Its weights; the hash is in the name.
        params (int): Number of parameters.
    """

    config: Path
    checkpoint: Path
    params: int


def export_student(
    cfg: Config,
    checkpoint: str,
    out: Union[str, Path],
    exit_number: Optional[int] = None,
    force: bool = False,
) -> ExportedStudent:
    """Write the network up to one exit as a plain classifier.

    Before anything is written, the student is built from the text of its config and must answer as
    the network does, bit for bit.

    Args:
        cfg (Config): Config of the trained BYOT network, read from a file.
        checkpoint (str): Its checkpoint: file, address or ``zoo://NAME``; one of MMRazor's too.
        out (str | Path): Folder to write to, made if need be.
        exit_number (int, optional): 1 to C. Defaults to the deepest, C.
        force (bool): Replace another config of the same name.

    Returns:
        ExportedStudent: ``NAME_exitI.py`` and ``NAME_exitI-HASH.pth``.

    Raises:
        ConfigError: No such exit; a network that cannot be cut there; a file that is in the way.
        CheckpointError: The checkpoint is broken or does not fit.
    """
    model, state, meta = load_byot(cfg, checkpoint)
    count = model.num_exits
    exit_number = count if exit_number is None else exit_number
    if not 1 <= exit_number <= count:
        raise ConfigError(f'--exit {exit_number}: the network has the exits 1 to {count}')
    source = Path(cfg.filename)
    text, student = _checked_student(cfg, model, state, exit_number)
    text = f'# Exit {exit_number}/{count} of {source.name}\n{text}'
    data = checkpoint_bytes(
        dict(
            **plain_meta(meta),
            exit=f'{exit_number}/{count}',
            config=source.name,
            input_size=tuple(model.input_size),
        ),
        student_weights(state, student, exit_number),
    )
    name = f'{source.stem}_exit{exit_number}'
    exported = ExportedStudent(
        Path(out, f'{name}.py'),
        Path(out, hashed_name(name, data)),
        sum(parameter.numel() for parameter in student.parameters()),
    )
    _write(exported, text, data, force)
    return exported


def _checked_student(
    cfg: Config, model: BYOT, state: Dict[str, Tensor], exit_number: int
) -> Tuple[str, nn.Module]:
    """Text of the student's config, and what is built from it."""
    image = torch.rand(2, *model.input_size, generator=torch.Generator().manual_seed(0))
    where = f'exit {exit_number} of {type(model.architecture.backbone).__name__}'
    try:
        student_cfg = student_config(cfg.to_dict(), model, exit_number)
        text = Config(student_cfg).pretty_text
        # As mmpretrain.get_model builds it.
        read = Config.fromstring(text, '.py')
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            student = MODELS.build({**read.model, 'data_preprocessor': read.data_preprocessor})
        student.load_state_dict(student_weights(state, student, exit_number))
        student.eval()
        with torch.no_grad():
            logits = student(image)
            expected = model(image)[exit_number - 1]
    except UNFIT as e:
        raise ConfigError(
            f'{where} cannot be exported: the network does not run without what stands behind it '
            f'({type(e).__name__}: {" ".join(str(e).split())[:200]}). The deepest exit can always '
            'be: leave --exit out'
        ) from e
    if not torch.equal(logits, expected):
        raise ConfigError(
            f'{where} cannot be exported: cut there, the network answers with other logits'
        )
    return text, student


def _write(exported: ExportedStudent, text: str, data: bytes, force: bool) -> None:
    """Write both files whole, the weights first."""
    config = exported.config
    if config.exists() and config.read_text() != text and not force:
        raise ConfigError(
            f'{config} exists and has other content: choose another --out, or replace it with '
            '--force'
        )
    write_bytes(exported.checkpoint, data)
    write_text(config, text)
