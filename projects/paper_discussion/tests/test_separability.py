"""How far apart classes are: points whose numbers are known."""

import math

import numpy as np
import pytest
import torch
from separability import (
    collect_features,
    project,
    shown_classes,
    sums_of_squares,
)
from sklearn.metrics import calinski_harabasz_score

from mmrazor_byot.errors import CheckpointError, ConfigError, DatasetError


def test_sums_of_squares_by_hand():
    """Class means (1, 0) and (5, 3) about (3, 1.5): 6.25 each."""
    points = np.array([[0, 0], [2, 0], [4, 3], [6, 3]])
    assert sums_of_squares(points, np.array([7, 7, 2, 2])) == dict(
        ssb=4 * 6.25, ssw=4, ssb_ssw=6.25, calinski_harabasz=12.5
    )


def test_sums_of_squares_of_unequal_classes():
    """Means 0 and 4, of three and of one, about 1: 3 * 1 + 1 * 9."""
    found = sums_of_squares(np.array([[-1.0], [0], [1], [4]]), np.array([0, 0, 0, 1]))
    assert found['ssb'] == pytest.approx(12)
    assert found['ssw'] == pytest.approx(2)
    assert found['calinski_harabasz'] == pytest.approx(12 / (2 / 2))


def test_sums_of_squares_against_scikit_learn():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 5)).astype(np.float32)
    labels = generator.integers(0, 4, 60)
    found = sums_of_squares(features, labels)
    assert found['calinski_harabasz'] == pytest.approx(calinski_harabasz_score(features, labels))
    total = 60 * features.astype(float).var(0).sum()
    assert found['ssb'] + found['ssw'] == pytest.approx(total)
    shifted = sums_of_squares(3 * features + 100, labels)
    assert shifted['ssb_ssw'] == pytest.approx(found['ssb_ssw'], rel=1e-4)


def test_classes_without_spread():
    labels = np.array([0, 0, 1])
    alike = sums_of_squares(np.array([[1.0], [1], [2]]), labels)
    assert alike['ssw'] == 0 and alike['ssb_ssw'] == math.inf
    assert math.isnan(sums_of_squares(np.ones((3, 2)), labels)['ssb_ssw'])


@pytest.mark.parametrize(
    'labels, words',
    [
        ([4, 4, 4], '3 images of 1 classes'),
        ([0, 1, 2], '3 images of 3 classes'),
    ],
)
def test_nothing_to_tell_apart(labels, words):
    with pytest.raises(DatasetError, match=words):
        sums_of_squares(np.zeros((3, 2)), np.array(labels))


def test_projection_by_hand():
    """Squares 8 and 2 along two axes of three: four and one of five parts."""
    features = np.zeros((4, 3), np.float32)
    features[:2, 2], features[2:, 0] = (2, -2), (1, -1)
    points, explained = project(features + 50)
    np.testing.assert_allclose(np.abs(points), [[2, 0], [2, 0], [0, 1], [0, 1]], atol=1e-5)
    assert (points[:2, 0].sum(), points[2:, 1].sum()) == pytest.approx((0, 0), abs=1e-5)
    assert explained == pytest.approx([0.8, 0.2])


def test_tsne_keeps_neighbours_together():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    features = generator.normal(size=(40, 6)) + 100 * labels[:, None]
    points, explained = project(features, 'tsne')
    assert explained == []
    centres = np.array([points[labels == i].mean(0) for i in (0, 1)])
    nearest = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert nearest.tolist() == labels.tolist()
    np.testing.assert_array_equal(project(features, 'tsne')[0], points)


def test_no_projection():
    with pytest.raises(ConfigError, match='2 features of 5 numbers'):
        project(np.zeros((2, 5)))


def test_shown_classes():
    labels = np.array([5, 2, 9, 5, 2, 7])
    shown, drawn = shown_classes(labels, 2)
    assert shown.tolist() == [2, 5]
    assert drawn.tolist() == [True, True, False, True, True, False]
    with pytest.raises(DatasetError, match='first 1 classes have 2 images'):
        shown_classes(labels, 1)


@pytest.fixture
def loader(batch):
    images, samples = batch(10)
    return [dict(inputs=images[i : i + 5], data_samples=samples[i : i + 5]) for i in (0, 5)]


def test_features_with_and_without_exits(build_byot, batch, loader):
    model = build_byot()
    for head in [*model.exit_heads, model.architecture.head]:
        torch.nn.init.normal_(head.fc.weight)
    exits, labels = collect_features(model, loader)
    plain, _ = collect_features(model.architecture, loader)
    assert labels.tolist() == [0, 1, 2, 3, 4] * 2
    model.eval()
    with torch.no_grad():
        expected = model.forward_exits(batch(10)[0])
    for found, out in zip(exits, expected, strict=True):
        np.testing.assert_allclose(found.features, out.feature, rtol=1e-4, atol=1e-5)
        assert found.answers.tolist() == out.logits.argmax(1).tolist()
    assert len(plain) == 1
    np.testing.assert_array_equal(plain[0].features, exits[-1].features)
    np.testing.assert_array_equal(plain[0].answers, exits[-1].answers)


def test_broken_networks(build_byot, loader):
    model = build_byot()
    torch.nn.init.constant_(next(model.exit_heads[1].parameters()), math.nan)
    with pytest.raises(CheckpointError, match='exit 2/4 gives features'):
        collect_features(model, loader)
    model.architecture.head = None
    with pytest.raises(ConfigError, match='does not show its feature'):
        collect_features(model.architecture, loader)
