"""tools/infer.py, on the digits network that ships with the project."""

import json
import re

import cv2
import numpy as np
import pytest
from run import DIGITS, WEIGHTS, failed, succeeded, tool

from mmrazor_byot.early_exit import ConfidencePolicy, PolicyFile, policy_text

NAME = DIGITS.stem


@pytest.fixture
def scores(digits_logits):
    """Softmax of all exits (B, C, K) for the first test images."""
    return digits_logits[:20].softmax(-1).numpy()


@pytest.fixture
def folder(digits_images, tmp_path):
    """The first test images as files."""
    path = tmp_path / 'digits'
    path.mkdir()
    for i, image in enumerate(digits_images[0][:20]):
        cv2.imwrite(str(path / f'{i:02}.png'), image)
    return path


def test_each_image_leaves_where_the_policy_says(folder, scores, tmp_path):
    confidence = np.sort(scores[:, 0].max(-1))
    threshold = float(confidence[9:11].mean())  # ten leave at exit 1
    policy = tmp_path / 'policy.json'
    policy.write_text(policy_text(PolicyFile(ConfidencePolicy([threshold, None, None]), 4, 10)))
    out, shown = tmp_path / 'new' / 'results.json', tmp_path / 'shown'
    flags = '--policy', policy, '--batch-size', 6, '--topk', 2, '--device', 'cpu'
    text = succeeded(
        tool('infer.py', folder, '--model', NAME, *flags, '--out', out, '--show-dir', shown)
    )
    written = json.loads(out.read_text())
    assert written['policy']['thresholds'] == [threshold, None, None]
    assert [row['exit'] for row in written['images']] == [
        1 if s.max() >= threshold else 4 for s in scores[:, 0]
    ]
    for row, expected in zip(written['images'], scores):
        np.testing.assert_allclose(row['pred_scores'], expected[row['exit'] - 1], atol=1e-5)
    names = [f'{i:02}.png' for i in range(20)]
    assert [row['image'] for row in written['images']] == [str(folder / name) for name in names]
    assert sorted(p.name for p in shown.iterdir()) == names
    assert not list(out.parent.glob('*.tmp'))

    blocks = re.findall(
        r'^(/.*?): (\d) \(([\d.]+) %\), left at exit (\d)/4, '
        r'[\d.]+ ms\n((?:  .*\n){4})',
        text,
        re.M,
    )
    assert len(blocks) == 20
    for block, row in zip(blocks, written['images']):
        assert block[:2] == (row['image'], row['pred_class'])
        assert float(block[2]) == pytest.approx(100 * row['pred_score'], abs=0.1)
        assert int(block[3]) == row['exit']
        states = [line[12:] for line in block[4].splitlines()]
        assert [s if s.startswith('not') else 'read' for s in states] == (
            ['read'] + ['not run'] * 3
            if row['exit'] == 1
            else ['read', 'not read', 'not read', 'read']
        )
    assert len({len(line) for line in re.findall(r'^  exit.* %$', text, re.M)}) == 1  # aligned


def test_flags_and_settings(folder, scores, tmp_path):
    out = tmp_path / 'results.json'
    image = folder / '03.png'
    for flags, exit_number, expected in (
        (['--exit', 3, '--ensemble'], 3, scores[3, :3].mean(0)),
        (['--weights', WEIGHTS, '--cfg-options', 'model.predict_with=2'], 2, scores[3, 1]),
    ):
        succeeded(tool('infer.py', image, '--model', DIGITS, '--out', out, *flags))
        (row,) = json.loads(out.read_text())['images']
        assert row['exit'] == exit_number
        np.testing.assert_allclose(row['pred_scores'], expected, atol=1e-5)


@pytest.mark.parametrize('flags', [['--policy', 'p.json', '--exit', '2'], ['--exit', '9']])
def test_flags_that_do_not_fit(folder, flags):
    assert flags[-2].strip('-') in failed(tool('infer.py', folder, '--model', NAME, *flags))


def test_a_broken_image_leaves_nothing_half_written(folder, tmp_path):
    (folder / '07.png').write_bytes(b'x')
    out = tmp_path / 'results.json'
    done = tool('infer.py', folder, '--model', NAME, '--out', out, '--show-dir', tmp_path / 'shown')
    assert f'"{folder / "07.png"}" (1 bytes)' in failed(done)
    assert done.stdout == '' and sorted(tmp_path.iterdir()) == [folder]


def test_bad_images_of_nested_folders_are_skipped(folder, scores, tmp_path):
    deep = folder / 'deep' / 'er'
    deep.mkdir(parents=True)
    for name in ('09.png', '10.png', '11.png'):
        (folder / name).rename(deep / name)
    (folder / '07.png').write_bytes(b'x')
    (deep / '10.png').write_bytes((deep / '10.png').read_bytes()[:-60])
    cv2.imwrite(str(deep / 'large.png'), np.zeros((33, 32), np.uint8))
    bad = [folder / '07.png', deep / '10.png', deep / 'large.png']
    out = tmp_path / 'results.json'
    words = 'infer.py', folder, '--model', NAME, '--skip-bad', '--max-pixels', 1024, '--out', out
    done = tool(*words, '--batch-size', 4)
    succeeded(done)
    skipped = [line for line in done.stderr.splitlines() if line.startswith('skipped: ')]
    assert len(skipped) == 3
    for line, path, reason in zip(skipped, bad, ['(1 bytes)', 'truncated', '32 x 33 pixels']):
        assert f'"{path}"' in line and reason in line and str(path) not in done.stdout
    rows = json.loads(out.read_text())['images']
    images = [folder / f'{i:02}.png' for i in (*range(7), 8, *range(12, 20))]
    images += [deep / '09.png', deep / '11.png']
    assert [row['image'] for row in rows] == [str(path) for path in images]
    for row, path in zip(rows, images):
        expected = scores[int(path.stem), -1]
        np.testing.assert_allclose(row['pred_scores'], expected, atol=1e-5)
        assert f'{path}: {expected.argmax()} (' in done.stdout


def test_nothing_but_bad_images(folder, tmp_path):
    out = tmp_path / 'results.json'
    words = folder, '--model', NAME, '--skip-bad', '--max-pixels', 1023, '--out', out
    done = tool('infer.py', *words)
    assert str(folder / '00.png') in failed(done)
    assert done.stdout == '' and 'skipped: ' not in done.stderr and not out.exists()
