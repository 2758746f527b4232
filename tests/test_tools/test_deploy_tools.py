"""export_onnx.py and bench.py as a user types them."""

import json

import numpy as np
import pytest
from exported import (  # noqa: F401
    WEIGHTS,
    digits_test,
    exported,
    printed,
)
from run import DIGITS, failed, succeeded, tool

from mmrazor_byot.deploy import timing
from mmrazor_byot.deploy.benchmark import Images, bench, read_images
from mmrazor_byot.deploy.runtime import DeployedNetwork
from mmrazor_byot.deploy.timing import interleaved, summary
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.policies import ConfidencePolicy

EXPORT, BENCH = 'deploy/export_onnx.py', 'deploy/bench.py'


def test_export_prints_both_precisions(exported, printed):  # noqa: F811
    lines = [line.split() for line in printed.splitlines()]
    manifest = json.loads((exported / 'manifest.json').read_text())
    for precision in ('fp32', 'int8'):
        rows = [s for s in lines if len(s) == 6 and s[1] == precision]
        assert [s[0] for s in rows] == ['1/4', '2/4', '3/4', '4/4', 'ensemble']
        results = manifest['results'][precision]
        assert [s[2] for s in rows] == [f'{r["top1"]:.2f}' for r in results]
        assert all(r['ms'] > 0 for r in results[:4])
    assert 'the logits of 48 calibration images are within' in printed
    assert str(exported) in printed


def test_an_existing_folder_is_kept(exported):  # noqa: F811
    before = (exported / 'manifest.json').read_text()
    reason = failed(tool(EXPORT, DIGITS, WEIGHTS, '--out', exported))
    assert 'is there already' in reason and '--force' in reason
    assert (exported / 'manifest.json').read_text() == before


@pytest.mark.parametrize('missing', ['onnx', 'onnxscript', 'onnxruntime'])
def test_packages_that_are_missing(tmp_path, monkeypatch, missing):
    (tmp_path / f'{missing}.py').write_text('raise ImportError("not here")')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    done = tool(EXPORT, DIGITS, WEIGHTS, '--out', tmp_path / 'out')
    assert 'pip install "mmrazor_byot[deploy]"' in failed(done)


def test_bench_of_a_policy(exported, tmp_path):  # noqa: F811
    images, _ = digits_test()
    np.savez(tmp_path / 'digits.npz', labels=np.arange(90), images=images[:90])
    out = tmp_path / 'bench.json'
    text = succeeded(
        tool(
            BENCH,
            exported,
            '--images',
            tmp_path / 'digits.npz',
            '--batch',
            1,
            8,
            '--threads',
            1,
            '--seconds',
            0.02,
            '--out',
            out,
        )
    )
    assert '90 images of digits.npz' in text
    result = json.loads(out.read_text())
    assert result['machine']['cores'] >= 1
    assert result['machine']['onnxruntime'] and result['machine']['processor']
    network = DeployedNetwork(exported, threads=1)
    exits = network.run(images[:90]).exits
    assert result['exit_shares'] == [(exits == i).sum() / 90 for i in (1, 2, 3, 4)]
    rows = result['rows']
    assert len(rows) == 2 * 2 * 5
    for batch in (1, 8):
        part = [row for row in rows if row['batch'] == batch]
        (deepest,) = (row for row in part if row['what'] == '4/4' and row['precision'] == 'fp32')
        assert deepest['median_ratio'] == deepest['throughput_ratio'] == 1
        for row in part:
            assert row['calls'] >= 5 and row['p95_ms'] >= row['median_ms'] > 0
            assert row['median_ratio'] == pytest.approx(deepest['median_ms'] / row['median_ms'])
            assert row['throughput_ratio'] == pytest.approx(
                row['images_per_s'] / deepest['images_per_s']
            )


def test_bench_on_the_test_images_of_a_recipe(exported, tmp_path):  # noqa: F811, E501
    text = succeeded(tool(BENCH, exported, '--config', DIGITS, '--batch', 4, '--seconds', 0.01))
    assert '599 test images of' in text
    assert 'leaves ' in text and ' at 4/4' in text


def test_a_policy_is_not_timed_on_noise(exported, tmp_path):  # noqa: F811
    policy = exported.parent / 'policy.json'
    reason = failed(tool(BENCH, exported, '--policy', policy))
    assert 'give real ones by --images or --config' in reason


def test_numbers_of_a_summary():
    times = [0.002] * 18 + [0.004, 0.04]
    # linear between the 18th and 19th of 0 to 19: 0.95 * 19 = 18.05
    assert summary(times, 8) == pytest.approx(
        dict(median_ms=2, p95_ms=4 + 0.05 * 36, calls=20, images_per_s=8 * 20 / 0.08)
    )


def test_calls_are_timed_in_turn(monkeypatch):
    monkeypatch.setattr(timing, 'TURN', 0)
    order = []
    times = interleaved(
        {name: lambda name=name: order.append(name) for name in 'ab'}, seconds=0, at_least=3
    )
    assert ''.join(order) == 'aabb' + 'aabb' * 3
    assert {name: len(spent) for name, spent in times.items()} == dict(a=3, b=3)


def test_every_image_has_its_turn(exported):  # noqa: F811
    network = DeployedNetwork(exported, threads=1)
    seen = []
    network.exit_logits = lambda number, x: seen.append(x[:, 0, 0, 0].tolist())
    array = np.zeros((5, 32, 32, 3), np.uint8)
    array[:, 0, 0, 0] = range(5)
    bench([network], Images(array, 'five', True), 2, 1e-9)
    assert seen[0 :: network.num_exits][:1] == [[0, 1]]
    assert sorted(map(tuple, {tuple(x) for x in seen})) == [(0, 1), (2, 3), (4, 0)]


def test_wrong_images_to_bench(exported, tmp_path):  # noqa: F811
    network = DeployedNetwork(exported, threads=1)
    np.save(tmp_path / 'a.npy', np.zeros((4, 28, 28, 3), np.uint8))
    np.savez(tmp_path / 'b.npz', np.zeros(4))
    (tmp_path / 'c.npz').write_bytes(b'PK')
    (tmp_path / 'd').mkdir()
    for name, reason in (
        ('a.npy', r'holds uint8 \(4, 28, 28, 3\)'),
        ('b.npz', r'no array \(N, H, W, 3\)'),
        ('c.npz', 'cannot be read'),
        ('d', 'holds no images'),
        ('e', 'does not exist'),
        ('f.npy', 'cannot be read'),
    ):
        with pytest.raises(DatasetError, match=reason):
            read_images(tmp_path / name, network)
    noise = Images(np.zeros((4, 32, 32, 3), np.uint8), 'noise', False)
    with pytest.raises(ConfigError, match='real ones'):
        bench([network], noise, 1, 1, ConfidencePolicy(0.5))
    with pytest.raises(ConfigError, match='both must be positive'):
        bench([network], noise, 0, 1)
