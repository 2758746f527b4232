"""Images per second of the data path, without a network.

mmpretrain's pipelines, image by image through the DataLoader and its preprocessor, and batched
augmentations of images in memory as one tensor. All take their batches in turn, so that a
slower minute of the machine meets all of them.

    python benchmarks/data_path.py --batch 128 python benchmarks/data_path.py --images tin32_a.npz
    --device cuda python benchmarks/data_path.py --jpeg
"""

import argparse
import itertools
import statistics
import time
from pathlib import Path
from typing import Iterator

import cv2
import jpeg_path
import torch
from machine import (
    add_common_arguments,
    describe_machine,
    save_result,
    synchronize,
)
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from synthetic import RandomImages

from mmrazor_byot.datasets import ImageBatches, InMemoryDataset, PackedImages
from mmrazor_byot.table import format_table

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / 'configs/_base_/datasets/cifar100_bs16.py'

SIMPLE = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--images', help='packed images (.npz); synthetic ones if not given')
    parser.add_argument('--count', type=int, default=5000, help='how many images to have')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument(
        '--seconds', type=float, default=0.5,
        help='of each pipeline in each round')  # yapf: disable
    parser.add_argument(
        '--jpeg', action='store_true',
        help='decoding of large JPEG files instead')  # yapf: disable
    add_common_arguments(parser)
    return parser.parse_args()


def load_images(args: argparse.Namespace, pipeline: list) -> InMemoryDataset:
    """The images with a pipeline of mmpretrain's transforms."""
    if args.images:
        return PackedImages(args.images, pipeline=pipeline, indices=args.count)
    return RandomImages(args.count, size=32, classes=100, pipeline=pipeline)


def batches(
    args: argparse.Namespace, dataset, preprocessor: dict, **loader
) -> Iterator[torch.Tensor]:
    """Endless batches as the runner makes them, without workers."""
    loader = Runner.build_dataloader(
        dict(
            batch_size=args.batch,
            num_workers=0,
            drop_last=True,
            dataset=dataset,
            sampler=dict(type='DefaultSampler', shuffle=True),
            **loader,
        )
    )
    preprocessor = MODELS.build(preprocessor).to(args.device)
    while True:
        for batch in loader:
            yield preprocessor(batch, training=True)['inputs']


def per_image(args: argparse.Namespace, recipe: Config, pipeline: list) -> Iterator[torch.Tensor]:
    """Batches of images that went through mmpretrain's transforms."""
    return batches(
        args,
        load_images(args, [*pipeline, dict(type='PackInputs')]),
        dict(recipe.data_preprocessor, type='ClsDataPreprocessor'),
    )


def batched(args: argparse.Namespace, recipe: Config, transforms: list) -> Iterator[torch.Tensor]:
    """Batches by one gather, augmented as one tensor."""
    return batches(
        args,
        ImageBatches(load_images(args, []), device=args.device),
        dict(
            recipe.data_preprocessor,
            type='mmrazor_byot.BatchDataPreprocessor',
            transforms=[dict(t, type=f'mmrazor_byot.Batch{t["type"]}') for t in transforms],
        ),
        collate_fn=dict(type='mmrazor_byot.collate_batch'),
    )


def pipelines(args: argparse.Namespace) -> dict:
    """Each name's batches, and which it is to be compared with."""
    recipe = Config.fromfile(RECIPE)
    full = [t for t in recipe.train_pipeline if t['type'] != 'PackInputs']
    rows = {'crop, flip': SIMPLE, 'crop, flip, AutoAugment, Cutout': full}
    made = {}
    for name, transforms in rows.items():
        made[f'mmpretrain: {name}'] = per_image(args, recipe, transforms)
        made[f'batched: {name}'] = batched(args, recipe, transforms)
    return made


def rate(batches: Iterator[torch.Tensor], seconds: float) -> float:
    """Images per second over a while."""
    images, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        images += len(next(batches))
    synchronize()
    return images / (time.perf_counter() - start)


def measure(args: argparse.Namespace) -> dict:
    made, rates = pipelines(args), {}
    for endless in made.values():  # loads, builds, warms up
        for _ in range(3):
            next(endless)
    for _, (name, endless) in itertools.product(range(args.rounds), made.items()):
        rates.setdefault(name, []).append(rate(endless, args.seconds))
    rows = {}
    for name, speeds in rates.items():
        theirs = rates[name.replace('batched', 'mmpretrain')]
        rows[name] = dict(
            median_per_s=statistics.median(speeds),
            min_per_s=min(speeds),
            max_per_s=max(speeds),
            ratio=statistics.median(a / b for a, b in zip(speeds, theirs)),
        )
    return rows


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    init_default_scope('mmpretrain')
    machine = describe_machine(args.device)
    print(
        f'{machine["gpu"] or machine["processor"]}, {machine["threads"]} threads, torch '
        f'{machine["torch"]}, OpenCV {cv2.__version__}'
    )
    if args.jpeg:
        rows = jpeg_path.measure(args.count, args.rounds)
        jpeg_path.show(rows)
        name = 'jpeg_path'
    else:
        rows = measure(args)
        print(
            f'batch {args.batch}, {args.rounds} rounds in turn, {args.images or "synthetic images"}'
        )
        lines = [['pipeline', 'images/s', 'times mmpretrain']]
        for name, row in rows.items():
            lines.append([name, f'{row["median_per_s"]:,.0f}', f'{row["ratio"]:.1f}'])
        print(format_table(lines, markdown=True))
        name = f'data_path_{args.device}_b{args.batch}'
    path = save_result(
        args.name or name,
        dict(
            machine=machine,
            opencv=cv2.__version__,
            batch=args.batch,
            images=Path(args.images).name if args.images else None,
            rounds=args.rounds,
            rows=rows,
        ),
        args.out,
    )
    print(f'written to {path}')


if __name__ == '__main__':
    main()
