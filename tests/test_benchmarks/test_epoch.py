"""The benchmark of whole epochs, cut to seconds."""

import json
import sys

import pytest
from run import RECIPES, ROOT, run, succeeded
from watch import covered

DIGITS = RECIPES / 'byot_resnet18_2xb64_digits.py'
TIN32 = RECIPES / 'byot_resnet18_2xb64_tin32-small.py'
NARROW = (
    'model.architecture.backbone.base_channels=4',
    'model.architecture.backbone.stem_channels=4',
)


def benchmark(name, out, *arguments, **settings):
    """Run it; its table and its result."""
    text = succeeded(
        run(
            sys.executable, ROOT / 'benchmarks' / f'{name}.py', *arguments, '--out', out, **settings
        )
    )
    return text, json.loads((out / f'{name}.json').read_text())


@pytest.mark.slow
def test_two_recipes(tmp_path):
    """One with its own images, one with random ones."""
    text, result = benchmark(
        'epoch',
        tmp_path,
        DIGITS,
        TIN32,
        '--images',
        48,
        '--batch',
        16,
        '--epochs',
        2,
        '--cfg-options',
        *NARROW,
        TIN32=str(tmp_path / 'no.npz'),
    )
    digits, tin32 = result['rows'].values()
    assert digits['data'] == 'its own' and tin32['data'] == 'random images'
    for row in (digits, tin32):
        assert row['images'] == 48 and row['batch'] == 16
        assert len(row['epochs']) == 2
        for epoch in row['epochs']:
            assert epoch['images_per_s'] == pytest.approx(48 / epoch['epoch_s'])
            assert epoch['times_steps'] == pytest.approx(epoch['epoch_s'] / epoch['steps_s'])
            assert 0 < epoch['data_share'] + epoch['outside_share'] < 1
            assert min(epoch['data_share'], epoch['outside_share']) > 0
        assert row['peak_mib'] > 100
    ratio = tin32['images_per_s'] / digits['images_per_s']
    last = next(s for s in text.splitlines() if f'| {TIN32.stem} ' in s)
    assert float(last.split('|')[-2]) == pytest.approx(ratio, abs=0.006)


@pytest.mark.slow
def test_mmrazors_own(tmp_path):
    """Its model and pipeline on the images of the first recipe."""
    _, result = benchmark(
        'epoch',
        tmp_path,
        '--methods',
        'mmrazor',
        '--images',
        4,
        '--batch',
        2,
        '--epochs',
        1,
        '--cfg-options',
        'train_dataloader.num_workers=1',
    )
    one, all_cores = result['rows'].values()
    assert one['workers'] == 1
    assert all_cores['workers'] == result['machine']['cores']
    assert one['times_steps'] > 0


def test_nothing_to_measure(tmp_path):
    done = run(sys.executable, ROOT / 'benchmarks/epoch.py')
    assert done.returncode == 2
    assert 'name a CONFIG, or --methods mmrazor' in done.stderr


def test_busy_time_is_counted_once():
    spans = [(5, 6), (0, 2), (1, 3), (1, 2), (6, 7.5)]
    assert covered(spans) == 3 + 2.5
    assert covered([]) == 0
