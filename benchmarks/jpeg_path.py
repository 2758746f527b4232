"""What one core can decode: JPEG files of ImageNet's size.

Called by data_path.py. Each decoder is followed by what mmpretrain's ImageNet recipes do then; the
fraction of each part names the bottleneck.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Dict, List

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS

from mmrazor_byot.table import format_table

SIZE = (375, 500)  # height and width

#: LoadImageFromFile's settings; a number is a flag of cv2.imdecode.
DECODERS = {
    'cv2': dict(imdecode_backend='cv2'),
    'cv2, half the size': dict(imdecode_backend='cv2', color_type=int(cv2.IMREAD_REDUCED_COLOR_2)),
    'pillow': dict(imdecode_backend='pillow'),
    'turbojpeg': dict(imdecode_backend='turbojpeg'),
}
AFTER = [
    dict(type='RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]


class TorchvisionJpeg(BaseTransform):
    """torchvision's decoder in the place of LoadImageFromFile."""

    def transform(self, results: dict) -> dict:
        from torchvision.io import decode_jpeg

        data = np.fromfile(results['img_path'], np.uint8)
        image = decode_jpeg(torch.from_numpy(data)).permute(1, 2, 0)
        results['img'] = np.ascontiguousarray(image.numpy())
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


def photograph(rng: np.random.Generator) -> np.ndarray:
    """Noise with the spectrum of photographs, (H, W, 3) uint8."""
    y, x = np.meshgrid(*map(np.fft.fftfreq, SIZE), indexing='ij')
    spectrum = 1 / np.maximum(np.hypot(x, y), 1 / max(SIZE))
    noise = np.fft.fft2(rng.normal(size=(3, *SIZE)))
    gray, red, blue = np.fft.ifft2(noise * spectrum).real
    image = np.stack([gray + red / 4, gray, gray + blue / 4], -1)
    image = 128 + 50 * (image - image.mean()) / image.std()
    return np.clip(image, 0, 255).astype(np.uint8)


def write_files(folder: Path, count: int) -> List[Path]:
    """Synthetic JPEG files, quality 92."""
    rng, files = np.random.default_rng(0), []
    for i in range(count):
        files.append(folder / f'{i}.jpg')
        cv2.imwrite(str(files[-1]), photograph(rng), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return files


def available() -> Dict[str, BaseTransform]:
    """The decoders that work here, with a word about the others."""
    import mmcv

    try:
        mmcv.use_backend('turbojpeg')  # it loads the library
        mmcv.use_backend('cv2')
    except (ImportError, RuntimeError) as e:
        print(f'turbojpeg is left out: {e}')
    decoders = {
        name: TRANSFORMS.build(dict(type='LoadImageFromFile', **settings))
        for name, settings in DECODERS.items()
        if name != 'turbojpeg' or mmcv.image.io.jpeg is not None
    }
    return {**decoders, 'torchvision': TorchvisionJpeg()}


def measure(count: int, rounds: int) -> dict:
    """Decode, crop and resize, flip and pack; a decoder after the other.

    Args:
        count (int): Files, 100 at most.
        rounds (int): Times all are taken in turn.

    Returns:
        dict: Images per second and the fractions of time, by decoder.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), min(count, 100))
        decoders, after = {}, [TRANSFORMS.build(t) for t in AFTER]
        for name, decoder in available().items():
            try:
                decoder(dict(img_path=str(files[0])))
                decoders[name] = decoder
            except Exception as e:  # whatever a missing library leads to
                print(f'{name} is left out: {e}')
        times = {name: [] for name in decoders}
        for _ in range(rounds):
            for name, decoder in decoders.items():
                times[name].append(take(files, [decoder, *after]))
        size = sum(file.stat().st_size for file in files) / len(files)
    return {
        name: dict(summary(parts, len(files)), file_kib=size / 1024)
        for name, parts in times.items()
    }


def take(files: List[Path], transforms: list) -> np.ndarray:
    """Seconds of each transform over all files."""
    seconds = np.zeros(len(transforms))
    for file in files:
        results = dict(img_path=str(file), gt_label=0)
        for i, transform in enumerate(transforms):
            start = time.perf_counter()
            results = transform(results)
            seconds[i] += time.perf_counter() - start
    return seconds


def summary(parts: List[np.ndarray], images: int) -> dict:
    totals = [part.sum() for part in parts]
    fraction = np.median([part / part.sum() for part in parts], 0)
    return dict(
        median_per_s=images / statistics.median(totals),
        max_per_s=images / min(totals),
        decode=fraction[0],
        resize=fraction[1],
        rest=fraction[2:].sum(),
    )


def show(rows: dict) -> None:
    """Print the table."""
    size = next(iter(rows.values()))['file_kib']
    print(f'JPEG files of {SIZE[1]} x {SIZE[0]}, {size:.0f} KiB each, to 224 x 224')
    lines = [['decoder', 'images/s', 'decode', 'crop, resize', 'flip, pack']]
    for name, row in rows.items():
        parts = [f'{row[part]:.0%}' for part in ('decode', 'resize', 'rest')]
        lines.append([name, f'{row["median_per_s"]:,.0f}', *parts])
    print(format_table(lines, markdown=True))
