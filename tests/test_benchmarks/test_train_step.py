"""benchmarks/train_step.py, as it is typed."""

# Multiply-adds of an image in ResNet-18 with the CIFAR stem, 100 classes.
STEM = 3 * 64 * 9 * 32**2
STAGE = 64 * 128 * 9 * 16**2 + 3 * 128 * 128 * 9 * 16**2 + 64 * 128 * 16**2
NETWORK = STEM + 4 * 64 * 64 * 9 * 32**2 + 3 * STAGE + 512 * 100


def test_two_methods(benchmark):
    methods = '--methods', 'plain', 'byot'
    flags = '--batch', 2, '--steps', 2, '--warmup', 0, '--device', 'cpu', '--fused'
    text, result = benchmark('train_step', *flags, '--layout', 'channels_last', *methods)
    plain, byot = result['rows']['plain'], result['rows']['byot']
    # Forward, and backward to weights and to inputs, but for the images.
    assert plain['flops'] == 2 * (3 * NETWORK - STEM)
    assert plain['ratio'] == plain['memory_ratio'] == 1
    assert 1.02 < byot['flops'] / plain['flops'] < 1.06
    # Weights, gradients and momentum of 11.2 million parameters at least.
    assert plain['peak_memory_bytes'] > 3 * 4 * 11.2e6
    assert 1 < byot['memory_ratio'] < 2
    for row in (plain, byot):
        assert row['min_s'] <= row['median_s'] <= row['max_s']
        assert row['setting']['layout'] == 'channels_last'
    assert f'{plain["flops"] / 1e9:.1f} |' in text
