"""Pictures of results: files in a folder, or a window."""

import os
from pathlib import Path
from typing import List, Optional, Sequence

import cv2
import numpy as np

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import write_bytes
from mmrazor_byot.runtime.images import MAX_PIXELS, read_image

from .image_inputs import Image, image_names


class Pictures:
    """The pictures of several images: files, or a window.

    Args:
        images (list): Of :func:`list_images`.
        max_pixels (int): The largest file that is read.
        show, wait_time, show_dir, draw_score, resize, rescale_factor: As in
            :class:`ByotInferencer`.

    Raises:
        ConfigError: A size is not positive, or a picture would replace an image.
    """

    def __init__(
        self,
        images: Sequence[Image],
        show: bool = False,
        wait_time: float = 0,
        show_dir: Optional[str] = None,
        max_pixels: int = MAX_PIXELS,
        **settings,
    ) -> None:
        for name in ('resize', 'rescale_factor'):
            value = settings.get(name)
            if value is not None and value <= 0:
                raise ConfigError(f'{name}={value} must be positive')
        self.images, self.settings, self.max_pixels = images, settings, max_pixels
        self.show, self.wait_time = show, wait_time
        self.names = image_names(images)
        self.files = (
            [None] * len(images)
            if show_dir is None
            else [Path(show_dir, f'{name}.png') for name in self.names]
        )
        originals = {os.path.realpath(i) for i in images if isinstance(i, str)}
        for file in filter(None, self.files):
            if os.path.realpath(file) in originals:
                raise ConfigError(
                    f'the picture {file} would replace an image that it is made from; choose '
                    'another folder to show them in'
                )

    def draw(self, results: List[Optional[dict]]) -> None:
        """Draw them one after the other.

        Raises:
            ConfigError: The folder cannot be written to.
        """
        if not (self.show or any(self.files)):
            return
        from mmrazor_byot.visualization.draw import draw_exits  # needs matplotlib

        window = _window() if self.show else None
        for image, name, file, result in zip(self.images, self.names, self.files, results):
            if result is None:  # the image was skipped
                continue
            is_file = isinstance(image, str)
            rgb = read_image(image, self.max_pixels) if is_file else image[..., ::-1].copy()
            picture = draw_exits(rgb, result, **self.settings)
            if file is not None:
                _write(picture, file)
            if window is not None:
                window.show(picture, win_name=name, wait_time=self.wait_time)
        if window is not None:
            window.close()


def _window():
    from mmpretrain.visualization import UniversalVisualizer

    return UniversalVisualizer()


def _write(picture: np.ndarray, path: Path) -> None:
    _, data = cv2.imencode('.png', picture[..., ::-1])
    write_bytes(path, data.tobytes())
