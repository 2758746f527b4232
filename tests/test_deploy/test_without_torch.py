"""The runtime where neither torch nor any OpenMMLab package is."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from exported import digits_test, exported, torch_logits  # noqa: F401
from PIL import Image
from run import ROOT, failed, succeeded

#: What the runtime may need, and the libraries that its wheels bring along.
ALLOWED = ('numpy', 'onnxruntime')
FOR_FILES = ('PIL',)

START = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
for name in ('torch', 'mmengine', 'mmcv', 'mmpretrain', 'mmrazor', 'cv2'):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f'{name} can be imported here')
path, sys.argv = sys.argv[2], sys.argv[2:]
if path.endswith('.py'):
    runpy.run_path(path, run_name='__main__')
else:
    runpy.run_module(path, run_name='__main__')
"""
RUNTIME = 'mmrazor_byot.deploy.runtime'
BENCH = ROOT / 'tools/deploy/bench.py'


def folder_of(path, *packages):
    """A folder to import from that holds these packages alone."""
    path.mkdir()
    (path / 'mmrazor_byot').symlink_to(ROOT / 'mmrazor_byot')
    for name in packages:
        source = Path(find_spec(name).origin).parent
        (path / name).symlink_to(source)
        libraries = {'PIL': 'pillow.libs'}.get(name, f'{name}.libs')
        if (source.parent / libraries).exists():
            (path / libraries).symlink_to(source.parent / libraries)
    return path


@pytest.fixture(scope='module')
def bare(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp('bare') / 'a', *ALLOWED, *FOR_FILES)


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pictures')
    for i, image in enumerate(digits_test()[0][:6]):
        Image.fromarray(image).save(folder / f'{i}.png')
    return [folder / f'{i}.png' for i in range(6)]


def start(packages, *words):
    """Run a module or script with nothing else to import."""
    command = [sys.executable, '-I', '-S', '-c', START, packages, *words]
    return subprocess.run(
        [str(word) for word in command], timeout=300, text=True, capture_output=True, cwd='/'
    )


def test_it_answers_as_torch(bare, exported, pictures):  # noqa: F811
    rows = json.loads(
        succeeded(
            start(
                bare,
                RUNTIME,
                exported,
                *pictures,
                '--exit',
                3,
                '--json',
                '--batch',
                4,
                '--threads',
                1,
            )
        )
    )
    logits = torch_logits(37)[2, :6].astype(np.float64)
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert [row['image'] for row in rows] == [str(p) for p in pictures]
    assert [row['label'] for row in rows] == logits.argmax(1).tolist()
    assert [row['class'] for row in rows] == [str(n) for n in logits.argmax(1)]
    np.testing.assert_allclose([row['score'] for row in rows], scores.max(1), atol=1e-5)
    assert {row['exit'] for row in rows} == {'3/4'}
    assert all(0 < row['ms'] < 10000 for row in rows)


def test_a_policy_in_a_table(bare, exported, pictures, tmp_path):  # noqa: F811
    policy = tmp_path / 'policy.json'
    policy.write_text(
        json.dumps(
            {
                'format': 'mmrazor_byot exit policy 1',
                'num_exits': 4,
                'num_classes': 10,
                'policy': {'type': 'ConfidencePolicy', 'thresholds': 0.0},
            }
        )
    )
    for words, expected in (([], {'1/4', '3/4', '4/4'}), (['--policy', policy], {'1/4'})):
        text = succeeded(start(bare, RUNTIME, exported, *pictures, '--precision', 'int8', *words))
        head, *lines = text.splitlines()
        assert head.split() == ['image', 'class', 'score', 'exit', 'ms']
        assert len({len(line) for line in lines}) == 1  # aligned
        assert len(lines) == 6
        assert {line.split()[3] for line in lines} <= expected


def test_bench_runs_there(bare, exported, tmp_path):  # noqa: F811
    out = tmp_path / 'bench.json'
    text = succeeded(start(bare, BENCH, exported, '--batch', 2, '--seconds', 0.01, '--out', out))
    assert 'random pixels' in text and 'is not timed: give real' in text
    rows = json.loads(out.read_text())['rows']
    assert [(row['what'], row['precision']) for row in rows] == [
        (f'{i}/4', precision) for precision in ('fp32', 'int8') for i in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize(
    'words, reason',
    [
        (['--exit', '5'], 'the network has the exits 1 to 4'),
        (['--policy', 'no.json'], 'no.json" does not exist'),
        (['--batch', '0'], '--batch 0: at least 1'),
        (['--threads', '-1'], 'threads=-1'),
    ],
)
def test_wrong_words_are_one_line(
    bare,
    exported,
    pictures,
    words,  # noqa: F811, E501
    reason,
):
    done = start(bare, RUNTIME, exported, pictures[0], *words)
    assert reason in failed(done)
    assert done.stderr.count('\n') == 1


def test_a_wrong_folder_is_one_line(bare, pictures, tmp_path):
    done = start(bare, RUNTIME, tmp_path, pictures[0])
    assert 'is no exported network' in failed(done)
    assert done.stderr.count('\n') == 1


def test_without_a_library_for_files(exported, pictures, tmp_path):  # noqa: F811, E501
    done = start(folder_of(tmp_path / 'b', *ALLOWED), RUNTIME, exported, pictures[0])
    assert 'neither is installed: pip install pillow' in failed(done)


def test_without_onnxruntime(exported, pictures, tmp_path):  # noqa: F811
    done = start(folder_of(tmp_path / 'c', 'numpy'), RUNTIME, exported, pictures[0])
    assert 'pip install onnxruntime' in failed(done)
