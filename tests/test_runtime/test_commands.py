"""The runtime and the bench where neither torch nor any OpenMMLab package is."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run import DIGITS, ROOT, failed, succeeded, tool

#: What the runtime needs, and the libraries that its wheels bring along.
ALLOWED = {'numpy': 'numpy.libs', 'onnxruntime': 'onnxruntime.libs', 'PIL': 'pillow.libs'}

START = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
for name in ('torch', 'mmengine', 'mmcv', 'mmpretrain', 'mmrazor', 'cv2', 'onnx'):
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
RUNTIME, BENCH = 'mmrazor_byot.runtime', ROOT / 'tools/deploy/bench.py'


def folder_of(path, *packages):
    """A folder to import from that holds these packages and our own, alone."""
    path.mkdir()
    (path / 'mmrazor_byot').symlink_to(ROOT / 'mmrazor_byot')
    for name in packages:
        source = Path(find_spec(name).origin).parent
        (path / name).symlink_to(source)
        if (source.parent / ALLOWED[name]).exists():
            (path / ALLOWED[name]).symlink_to(source.parent / ALLOWED[name])
    return path


@pytest.fixture(scope='module')
def bare(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp('bare') / 'a', *ALLOWED)


@pytest.fixture(scope='module')
def pictures(tmp_path_factory, digits_images):
    folder = tmp_path_factory.mktemp('pictures')
    for i, image in enumerate(digits_images[0][:6]):
        Image.fromarray(image).save(folder / f'{i}.png')
    return folder


def start(packages, *words):
    """Run a module or script with nothing else to import."""
    command = [sys.executable, '-I', '-S', '-c', START, packages, *words]
    return subprocess.run(
        [str(word) for word in command], timeout=300, text=True, capture_output=True, cwd='/'
    )


def test_it_answers_as_torch(bare, exported, pictures, digits_logits):
    rows = json.loads(succeeded(start(bare, RUNTIME, exported, pictures, '--exit', 3, '--json')))
    scores = digits_logits[:6, 2].softmax(-1)
    assert [row['image'] for row in rows] == [f'{pictures}/{i}.png' for i in range(6)]
    assert [row['label'] for row in rows] == scores.argmax(1).tolist()
    assert [row['class'] for row in rows] == [str(n) for n in scores.argmax(1).tolist()]
    np.testing.assert_allclose([row['score'] for row in rows], scores.amax(1), atol=1e-5)
    assert {row['exit'] for row in rows} == {'3/4'}
    assert all(0 < row['ms'] < 10000 for row in rows)


def test_a_table_by_thresholds(bare, exported, pictures):
    for words, expected in (((0,), '1/4'), ((2, 0, 2), '2/4')):
        text = succeeded(start(bare, RUNTIME, exported, pictures, '--threshold', *words))
        head, *lines = text.splitlines()
        assert head.split() == ['image', 'class', 'score', 'exit', 'ms']
        assert len({len(line) for line in lines}) == 1  # aligned
        assert [line.split()[3] for line in lines] == [expected] * 6


def test_info(bare, exported):
    text = succeeded(start(bare, RUNTIME, exported, '--info'))
    assert 'byot_resnet18_2xb64_digits' in text and '98.66' in text and '0.00512' in text
    about = json.loads(succeeded(start(bare, RUNTIME, exported, '--info', '--json')))
    assert about['thresholds'] == [0.95] * 3 and about['num_exits'] == 4


def test_bad_images_are_skipped_if_asked(bare, exported, pictures, tmp_path):
    (tmp_path / 'bad.png').write_bytes((pictures / '0.png').read_bytes()[:-30])
    words = exported, pictures / '0.png', tmp_path, '--json'
    assert 'bad.png' in failed(start(bare, RUNTIME, *words))
    done = start(bare, RUNTIME, *words, '--skip-bad')
    assert done.returncode == 0 and len(json.loads(done.stdout)) == 1
    assert done.stderr.startswith('skipped: ') and 'bad.png' in done.stderr
    assert 'none of the 1 images' in failed(start(bare, RUNTIME, exported, tmp_path, '--skip-bad'))


@pytest.mark.parametrize(
    'words, reason',
    [
        (['--exit', '5'], 'exit 5'),
        (['--threads', '1'], 'no images'),
        (['--threshold', '0.5', '0.5'], '[0.5, 0.5]'),
        (['--threads', '10000'], '10000'),
        (['--max-pixels', '10'], '32 x 32'),
        (['--max-pixels', '0'], '--max-pixels 0'),
    ],
)
def test_wrong_words_are_one_line(bare, exported, pictures, words, reason):
    images = [] if reason == 'no images' else [pictures / '0.png']
    done = start(bare, RUNTIME, exported, *images, *words)
    assert reason in failed(done)
    assert done.stderr.count('\n') == 1


def test_missing_packages_are_one_line(exported, pictures, tmp_path):
    for have, need in ((('numpy', 'onnxruntime'), 'pillow'), (('numpy', 'PIL'), 'onnxruntime')):
        done = start(folder_of(tmp_path / need, *have), RUNTIME, exported, pictures)
        assert f'pip install {need}' in failed(done)
        assert done.stderr.count('\n') == 1


def test_bench_runs_there(bare, exported, tmp_path):
    out = tmp_path / 'bench.json'
    words = exported, '--batch', 1, 2, '--seconds', 0.01, '--out', out
    assert 'random pixels' in succeeded(start(bare, BENCH, *words))
    result = json.loads(out.read_text())
    rows = result['rows']
    assert [(row['what'], row['batch']) for row in rows] == [
        (f'{i}/4', batch) for batch in (1, 2) for i in (1, 2, 3, 4)
    ]
    times = [row['median_ms'] for row in rows[:4]]
    assert result['costs'] == dict(cumulative=times, fixed=times, unit='ms')
    assert rows[3]['ratio'] == rows[7]['ratio'] == 1 and rows[0]['ratio'] > 1
    assert result['machine']['onnxruntime'] and result['machine']['processor']


def test_bench_of_a_policy_on_labelled_images(exported, digits_images, digits_logits, tmp_path):
    images, labels = digits_images
    for i in range(60):
        folder = tmp_path / 'photos' / str(labels[i])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i]).save(folder / f'{i}.png')
    out = tmp_path / 'out.json'
    words = '--images', tmp_path / 'photos', '--batch', 4, '--seconds', 0.01, '--out', out
    text = succeeded(tool('deploy/bench.py', exported, *words))
    assert 'on 60 images' in text and 'top1' in text
    rows = json.loads(out.read_text())['rows']
    assert [row['what'] for row in rows] == ['1/4', '2/4', '3/4', '4/4', 'policy']
    assert [row['stops'] for row in rows[:4]] == np.eye(4).tolist()
    right = digits_logits[:60].argmax(-1).numpy() == labels[:60, None]
    assert [row['top1'] for row in rows[:4]] == pytest.approx(100 * right.mean(0))


def test_bench_on_the_test_images_of_a_recipe(exported):
    words = exported, '--config', DIGITS, '--batch', 64, '--seconds', 0.01
    text = succeeded(tool('deploy/bench.py', *words))
    assert '599 test images' in text and '97.329' in text and 'stop at its exits' in text


def test_what_cannot_be_timed(exported, tmp_path):
    for words, reason in (
        (['--images', tmp_path / 'e'], 'does not exist'),
        (['--batch', 0], 'batch=0'),
        (['--seconds', 0], 'seconds=0'),
        (['--threads', 0], 'threads=0'),
        (['--out', tmp_path], 'is a folder'),
        ([exported], 'the same name'),
    ):
        assert reason in failed(tool('deploy/bench.py', exported, *words))
