"""What the tests of batched augmentations share."""

import numpy as np
import torch
from mmpretrain.registry import TRANSFORMS
from scipy.stats import ks_2samp

#: Where each of mmpretrain's operations keeps its magnitude.
MAGNITUDE = dict(Solarize='thr', Posterize='bits', Rotate='angle', Cutout='shape')
UNSIGNED = ('Solarize', 'SolarizeAdd', 'Posterize', 'Cutout')


def photographs(n: int, height: int = 32, width: int = 32) -> torch.Tensor:
    """Images uint8 (n, 3, height, width): smooth, noisy, dull and flat."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width] / 8
    wave = np.sin(rng.uniform(0.2, 2, (n, 3, 1, 1)) * y + rng.uniform(0.2, 2, (n, 3, 1, 1)) * x)
    span = rng.uniform(10, 120, (n, 3, 1, 1))
    noise = rng.normal(0, 1, wave.shape) * rng.uniform(0, 30, (n, 1, 1, 1))
    images = np.clip(rng.uniform(40, 215, (n, 3, 1, 1)) + span * wave + noise, 0, 255).astype(
        np.uint8
    )
    images[0] = rng.integers(0, 256, images[0].shape)
    images[1], images[2, 1], images[3, :, 0, 0] = 90, 0, 255
    return torch.from_numpy(images)


def per_image(images: torch.Tensor, transforms) -> torch.Tensor:
    """Each image through its own list of mmpretrain's transforms."""
    done = []
    for image, chain in zip(images, transforms):
        results = dict(img=image.permute(1, 2, 0).numpy().copy())
        for transform in chain:
            results = transform(results)
        done.append(torch.from_numpy(results['img']).permute(2, 0, 1))
    return torch.stack(done)


def fixed(config: dict, magnitude: float):
    """mmpretrain's operation with this magnitude and always applied."""
    config = {
        k: v
        for k, v in config.items()
        if k not in ('prob', 'magnitude_range', 'random_negative_prob')
    }
    name = config['type']
    if name not in ('AutoContrast', 'Invert', 'Equalize'):
        key = MAGNITUDE.get(name, 'magnitude')
        if name != 'Cutout' or 'shape' not in config:
            config[key] = int(magnitude) if name == 'Cutout' else magnitude
    if name not in UNSIGNED:
        config['random_negative_prob'] = 0.0
    return TRANSFORMS.build(dict(config, prob=1.0))


def likely(counts, probabilities) -> bool:
    """Whether counts fit probabilities: all within 4 standard deviations.

    Args:
        counts: How often each came, (K,).
        probabilities: Its probability, (K,) or one for all.
    """
    counts = np.asarray(counts, float)
    probabilities = np.broadcast_to(probabilities, counts.shape)
    total = counts.sum()
    deviation = np.sqrt(total * probabilities * (1 - probabilities))
    return bool((abs(counts - total * probabilities) <= 4 * deviation).all())


def probability_fits(happened, probability: float) -> bool:
    """Whether how often it happened fits its probability, see :func:`likely`."""
    happened = np.asarray(happened, bool)
    return likely([happened.sum(), (~happened).sum()], [probability, 1 - probability])


def same_distribution(a, b) -> bool:
    """Two samples, by Kolmogorov and Smirnov, at a level of 1e-4."""
    return ks_2samp(a, b).pvalue > 1e-4
