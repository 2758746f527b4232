"""Draw results to files or in a window."""

import os
from itertools import count
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import cv2

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import PathLike, write_bytes
from mmrazor_byot.runtime.images import MAX_PIXELS, Source, read_image


def picture_files(images: Sequence[Source], show_dir: Optional[PathLike]) -> List[Path]:
    """Paths of the pictures; a :class:`ConfigError` if one would replace an image of the input."""
    files = [Path(show_dir or '', f'{name}.png') for name in _names(images)]
    originals = {os.path.realpath(image) for image in images if isinstance(image, str)}
    for file in files if show_dir is not None else ():
        if os.path.realpath(file) in originals:
            raise ConfigError(
                f'the picture {file} would replace an image of the input; choose another folder'
            )
    return files


def draw_pictures(
    images: Sequence[Source],
    results: Sequence[Optional[dict]],
    show: bool = False,
    wait_time: float = 0,
    show_dir: Optional[PathLike] = None,
    max_pixels: int = MAX_PIXELS,
    **drawing: Any,
) -> None:
    """Draw results, None for a skipped image; see ``ByotInferencer.__call__`` for the settings."""
    if not show and show_dir is None:
        return
    # Imported here because matplotlib takes a second.
    from mmpretrain.visualization import UniversalVisualizer

    from mmrazor_byot.visualization.draw import draw_exits

    window = UniversalVisualizer() if show else None
    for image, file, result in zip(images, picture_files(images, show_dir), results):
        if result is None:
            continue
        picture = draw_exits(read_image(image, max_pixels), result, **drawing)
        if show_dir is not None:
            write_bytes(file, cv2.imencode('.png', picture[..., ::-1])[1].tobytes())
        if window is not None:
            window.show(picture, win_name=file.stem, wait_time=wait_time)
    if window is not None:
        window.close()


def _names(images: Sequence[Source]) -> List[str]:
    """Unique names for the pictures: the name of the file, or the number of the image."""
    names: Dict[str, str] = {}  # by their lower case, as some file systems ignore the case
    for number, image in enumerate(images):
        stem = name = Path(image).stem if isinstance(image, str) else str(number)
        copies = count(2)
        while name.lower() in names:
            name = f'{stem}_{next(copies)}'
        names[name.lower()] = name
    return list(names.values())
