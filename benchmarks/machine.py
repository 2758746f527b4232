"""What a result is measured on, and where it is kept."""

import argparse
import json
import os
import platform
from pathlib import Path

import mmengine
import torch

from mmrazor_byot.files import write_text
from mmrazor_byot.runtime.timing import processor_name

RESULTS = Path(__file__).resolve().parent / 'results'


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, ``--name`` and ``--out``."""
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--name', help='of the result file')
    parser.add_argument('--out', default=RESULTS, help='folder for it')


def synchronize() -> None:
    """Let the GPU, if there is one, catch up."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def describe_machine(device: str) -> dict:
    """Processor, threads and versions; ``device`` is ``'cpu'`` or ``'cuda'``."""
    return dict(
        processor=processor_name(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if device == 'cuda' else None,
        python=platform.python_version(),
        torch=torch.__version__,
        mmengine=mmengine.__version__,
    )


def save_result(name: str, result: dict, folder: Path = RESULTS) -> Path:
    """Write a result as ``NAME.json``; returns the file."""
    path = Path(folder) / f'{name}.json'
    write_text(path, json.dumps(result, indent=2) + '\n')
    return path
