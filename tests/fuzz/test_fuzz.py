"""Whatever is read, the answer is right or one line says what is wrong.

A part of the inputs here, all of them with ``-m slow``;
``python tests/fuzz/test_fuzz.py --exported model.onnx --out FILE`` counts how they end, by surface.
"""

import argparse
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import exits
import files
import pytest
import settings
from command import Ended, leftovers

#: Inputs of each surface.
SURFACES = {
    files.policies: 500,
    files.packed: 440,
    files.zoo: 500,
    files.checkpoints: 400,
    files.runtime: 600,
    files.images: 500,
    exits.plain_exits: 300,
    exits.pretrained: 300,
    settings.configs: 60,
    settings.misspelt: 240,
    settings.costs: 160,
    settings.commands: 120,
}
#: Seconds that one input may take, and GiB that all may.
SECONDS, GIB = 60, 6


def hang(*_):
    raise TimeoutError(f'still running after {SECONDS} s')


def count(surface, number: int, folder: Path, **needed) -> tuple:
    """How ``number`` inputs of a surface end: a Counter, and a line for each that ends wrongly."""
    counts, failures = Counter(), []
    signal.signal(signal.SIGALRM, hang)
    for case in surface(random.Random(0), folder, number, **needed):
        signal.alarm(SECONDS)
        try:
            ended = case.run()
        except TimeoutError as e:
            ended = Ended('traceback', f'{e}')
        finally:
            signal.alarm(0)
        if ended.how == 'line' and not ended.text.strip().removeprefix('error:').strip():
            ended = Ended('traceback', 'an empty line')
        how = 'wrong' if case.wrong and ended.how == 'answer' else ended.how
        counts[how] += 1
        if how in ('traceback', 'wrong'):
            failures.append(f'{case.name!r}: {how}: {ended.text[-1500:]}')
    failures += [f'half-written: {path}' for path in leftovers(folder)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if memory > GIB:
        failures.append(f'{memory:.1f} GiB of memory')
    return counts, failures


@pytest.fixture
def needed(request):
    """What a surface needs besides a folder."""
    return lambda surface: (
        dict(exported=request.getfixturevalue('exported')) if surface is files.runtime else {}
    )


@pytest.mark.parametrize('surface', SURFACES, ids=lambda f: f.__name__)
def test_some(surface, tmp_path, needed):
    number = SURFACES[surface] // (20 if surface.__module__ == 'settings' else 5)
    assert count(surface, number, tmp_path, **needed(surface))[1] == []


@pytest.mark.slow
@pytest.mark.parametrize('surface', SURFACES, ids=lambda f: f.__name__)
def test_all(surface, tmp_path, needed):
    assert count(surface, SURFACES[surface], tmp_path, **needed(surface))[1] == []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('surfaces', nargs='*', help='names of surfaces. Defaults to all')
    parser.add_argument('--exported', type=Path, help='a file of tools/deploy/export_onnx.py')
    parser.add_argument('--out', help='JSON file for the counts')
    args = parser.parse_args()
    rows = {}
    for surface, number in SURFACES.items():
        name = surface.__name__
        if args.surfaces and name not in args.surfaces:
            continue
        folder = Path(tempfile.mkdtemp())
        more = dict(exported=args.exported) if surface is files.runtime else {}
        counts, failures = count(surface, number, folder, **more)
        shutil.rmtree(folder)
        rows[name] = dict(
            cases=counts.total(), **{k: counts[k] for k in ('line', 'traceback', 'wrong')}
        )
        print(*failures, name, rows[name], sep='\n', flush=True)
    if args.out:
        command = f'python tests/fuzz/test_fuzz.py --exported model.onnx --out {args.out}'
        Path(args.out).write_text(json.dumps(dict(command=command, surfaces=rows), indent=1) + '\n')


if __name__ == '__main__':
    main()
