"""The benchmark of whole epochs, cut to seconds."""

import pytest
from run import DIGITS, QUICK, RECIPES, ROOT, script
from watch import covered

TIN32 = RECIPES / 'byot_resnet18_2xb64_tin32-small.py'


@pytest.mark.slow
def test_two_recipes(benchmark):
    """One with its own images, one with random ones."""
    flags = '--images', 48, '--batch', 16, '--epochs', 2, '--cfg-options', *QUICK[:2]
    text, result = benchmark('epoch', DIGITS, TIN32, *flags, TIN32='no.npz')
    digits, tin32 = result['rows'].values()
    assert digits['data'] == 'its own' and tin32['data'] == 'random images'
    for row in (digits, tin32):
        assert row['images'] == 48 and row['batch'] == 16
        assert len(row['epochs']) == 2
        for epoch in row['epochs']:
            assert epoch['images_per_s'] == pytest.approx(48 / epoch['epoch_s'])
            assert epoch['times_steps'] == pytest.approx(epoch['epoch_s'] / epoch['steps_s'])
            assert 0 < epoch['data_fraction'] + epoch['outside_fraction'] < 1
            assert min(epoch['data_fraction'], epoch['outside_fraction']) > 0
        assert row['peak_mib'] > 100
    ratio = tin32['images_per_s'] / digits['images_per_s']
    last = next(s for s in text.splitlines() if f'| {TIN32.stem} ' in s)
    assert float(last.split('|')[-2]) == pytest.approx(ratio, abs=0.006)


@pytest.mark.slow
def test_mmrazors_own(benchmark):
    """Its model and pipeline on the images of the first recipe."""
    flags = '--images', 4, '--batch', 2, '--epochs', 1
    options = '--cfg-options', 'train_dataloader.num_workers=1'
    _, result = benchmark('epoch', '--methods', 'mmrazor', *flags, *options)
    one, all_cores = result['rows'].values()
    assert one['workers'] == 1
    assert all_cores['workers'] == result['machine']['cores']
    assert one['times_steps'] > 0


def test_nothing_to_measure():
    done = script(ROOT / 'benchmarks/epoch.py')
    assert done.returncode == 2
    assert 'name a CONFIG, or --methods mmrazor' in done.stderr


def test_busy_time_is_counted_once():
    spans = [(5, 6), (0, 2), (1, 3), (1, 2), (6, 7.5)]
    assert covered(spans) == 3 + 2.5
    assert covered([]) == 0
