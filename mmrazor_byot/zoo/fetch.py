"""Download a checkpoint so that only a good one gets its name."""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional, Union

from rich import progress as bars
from rich.console import Console
from rich.table import Column

from ..errors import ZooError
from .address import cache_dir, hash_in_name, source_url
from .check import sha256_of
from .index import ZooModel, find_model
from .lock import hold_part
from .transfer import Report, transfer


def download(
    name: str,
    dest: Union[str, Path, None] = None,
    base_url: Union[str, Path, None] = None,
    progress: bool = True,
) -> Path:
    """Download a model's checkpoint, unless a good copy is there already.

    The bytes go to ``FILE.part``, which is kept if the download breaks off
    and continued by the next one. Only when its sha256 begins as the file's
    name says does it get the name ``FILE``.

    Args:
        name: Name of a model in the zoo.
        dest: Folder to put the file in, made if need be. Defaults to the
            cache folder, where ``zoo://NAME`` looks too.
        base_url: Mirror to use instead of the published address:
            ``BASE/FILE`` is fetched. An address or a folder.
        progress: Whether to show a progress bar on the standard error.

    Returns:
        The path of the file.

    Raises:
        ZooError: If the name is unknown, the file can not be fetched or
            written, or its content does not fit its name. A file that was
            there before is left as it was.
    """
    model = find_model(name)
    url = source_url(model, base_url)
    promised = _promised_hash(model)
    file = cached_file(model, dest)
    try:
        if not _is_good(file, promised):
            _replace(file, url, promised, progress)
    except OSError as error:
        raise ZooError(
            f'can not write {file}: {error.strerror or error}: '
            'free some space or name another folder with '
            '--dest DIR'
        ) from error
    return file


def cached_file(model: ZooModel, dest: Union[str, Path, None] = None) -> Path:
    """Where :func:`download` puts a model's checkpoint."""
    folder = cache_dir() if dest is None else Path(dest).expanduser()
    return folder / str(model.file_name)


def _promised_hash(model: ZooModel) -> str:
    promised = hash_in_name(model.file_name)
    if promised is None:
        raise ZooError(
            f'{model.weights} can not be checked, so it is not downloaded: '
            'end its name in -xxxxxxxx.pth, the first 8 digits of its sha256'
        )
    return promised


def _is_good(file: Path, promised: str) -> bool:
    return file.is_file() and sha256_of(file).startswith(promised)


def _replace(file: Path, url: str, promised: str, progress: bool) -> None:
    """Put a good copy of ``url`` in the place of ``file``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + '.part')
    with hold_part(part):
        if _is_good(file, promised):
            return  # another process brought it while this one waited
        with _progress_bar(file.name, progress) as report:
            transfer(url, part, report)
        size, digest = part.stat().st_size, sha256_of(part)
        if not digest.startswith(promised):
            part.unlink()
            raise ZooError(
                f'{url} is damaged: the sha256 of its {size} bytes begins '
                f'with {digest[: len(promised)]}, its name says {promised}. '
                'The download is removed: try again, or another mirror'
            )
        os.replace(part, file)


@contextmanager
def _progress_bar(title: str, shown: bool) -> Iterator[Report]:
    """A bar that appears with the first report, so not for a refusal."""
    name = Column(max_width=32, no_wrap=True, overflow='ellipsis')
    bar = bars.Progress(
        bars.TextColumn('{task.description}', markup=False, table_column=name),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )

    def report(done: int, total: Optional[int]) -> None:
        if not bar.tasks:
            bar.start()
            bar.add_task(title)
        bar.update(bar.tasks[0].id, completed=done, total=total)

    try:
        yield report
    finally:
        if bar.tasks:
            bar.stop()
