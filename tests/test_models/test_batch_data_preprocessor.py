"""Batches are prepared as mmpretrain prepares them; then augmented whole."""

import numpy as np
import pytest
import torch
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from torch.utils._python_dispatch import TorchDispatchMode

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.models import BatchDataPreprocessor
from mmrazor_byot.registry import MODELS, TRANSFORMS
from mmrazor_byot.structures import BatchSamples, stack_targets

NORM = dict(mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418])
LABELS = [3, 0, 4, 1]


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    """Transforms of whole batches that can be worked out by hand."""
    monkeypatch.setattr(TRANSFORMS, '_module_dict', dict(TRANSFORMS._module_dict))
    for toy in (ToyAdd, ToySwap):
        TRANSFORMS.register_module(module=toy)


class ToyAdd:
    """Adds to each pixel."""

    def __init__(self, amount):
        self.amount = amount

    def __call__(self, images):
        assert images.dtype == torch.uint8
        return images + self.amount


class ToySwap:
    """A mix: a quarter of the image before it."""

    def __call__(self, images, scores):
        assert images.is_floating_point() and scores.is_floating_point()
        return (0.75 * images + 0.25 * images.roll(1, 0), 0.75 * scores + 0.25 * scores.roll(1, 0))


ADD = [dict(type='mmrazor_byot.ToyAdd', amount=5)]
SWAP = [dict(type='mmrazor_byot.ToySwap')]


def images(size=8, dtype=torch.uint8):
    return torch.randint(0, 256, (4, 3, size, size)).to(dtype)


def whole(inputs):
    return dict(
        inputs=inputs,
        data_samples=BatchSamples(gt_label=torch.tensor(LABELS), sample_idx=torch.arange(4)),
    )


def listed(inputs):
    return dict(inputs=inputs, data_samples=[DataSample().set_gt_label(label) for label in LABELS])


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64, torch.float32, torch.float64])
@pytest.mark.parametrize(
    'settings',
    [
        dict(),
        NORM,
        dict(NORM, to_rgb=True),
        dict(mean=[1, 2, 3], std=[4, 5, 6]),
        dict(NORM, pad_size_divisor=5, pad_value=7),
        dict(to_rgb=True),
    ],
)
def test_bit_for_bit_as_mmpretrains(settings, dtype, training):
    inputs = images(dtype=dtype)
    before = inputs.clone()
    theirs = ClsDataPreprocessor(**settings)(listed(inputs), training)
    ours = BatchDataPreprocessor(**settings)
    for data in (whole(inputs), listed(inputs), listed(list(inputs))):
        found = ours(data, training)
        assert found['inputs'].dtype == torch.float32
        assert torch.equal(found['inputs'], theirs['inputs'])
        assert stack_targets(found['data_samples']).tolist() == LABELS
        assert type(found['data_samples']) is type(data['data_samples'])
    assert torch.equal(inputs, before)


@pytest.mark.parametrize('size', [1, 32])
def test_all_pixels_normalised_bit_for_bit(size):
    """Each of the 256 values in each channel."""
    inputs = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    inputs = inputs.expand(256, 3, size, size)
    samples = BatchSamples(gt_label=torch.zeros(256, dtype=torch.long))
    found = BatchDataPreprocessor(**NORM)(dict(inputs=inputs, data_samples=samples))['inputs']
    by_hand = (np.arange(256, dtype=np.float32)[:, None] - np.float32(NORM['mean'])) / np.float32(
        NORM['std']
    )
    assert np.array_equal(found[:, :, 0, 0].numpy(), by_hand)
    assert torch.equal(found, found[..., :1, :1].expand_as(found))


@pytest.mark.parametrize('data', [whole, listed])
def test_transforms_come_first_and_in_training_only(data):
    preprocessor = MODELS.build(
        dict(
            type='mmrazor_byot.BatchDataPreprocessor',
            transforms=ADD * 2,
            mean=[10] * 3,
            std=[2] * 3,
        )
    )
    inputs = torch.full((4, 3, 2, 2), 100, dtype=torch.uint8)
    for training, pixel in ((True, 50), (False, 45)):
        found = preprocessor(data(inputs), training)
        assert found['inputs'].unique().tolist() == [pixel]
        assert stack_targets(found['data_samples']).tolist() == LABELS
    assert preprocessor(data(list(inputs)), True)['inputs'].mean() == 50
    assert not list(preprocessor.parameters())
    assert not preprocessor.state_dict()


def test_transforms_see_rgb():
    """BGR images are turned before."""
    seen = []
    preprocessor = BatchDataPreprocessor(to_rgb=True, transforms=[lambda x: seen.append(x) or x])
    inputs = images()
    found = preprocessor(whole(inputs), True)['inputs']
    assert torch.equal(seen[0], inputs.flip(1))
    assert torch.equal(found, inputs.flip(1).float())


@pytest.mark.parametrize('data', [whole, listed])
def test_mixes_come_last_and_in_training_only(data):
    preprocessor = BatchDataPreprocessor(
        mean=[0] * 3, std=[2] * 3, transforms=ADD, mixes=SWAP, num_classes=5
    )
    inputs = torch.tensor([1, 3, 5, 7], dtype=torch.uint8).reshape(4, 1, 1, 1)
    found = preprocessor(data(inputs.expand(4, 3, 2, 2)), True)
    # (1, 3, 5, 7) + 5 over 2 is (3, 4, 5, 6).
    assert found['inputs'][:, 0, 0, 0].tolist() == [3.75, 3.75, 4.75, 5.75]
    target = stack_targets(found['data_samples'])
    assert target.tolist() == [
        [0, 0.25, 0, 0.75, 0],
        [0.75, 0, 0, 0.25, 0],
        [0.25, 0, 0, 0, 0.75],
        [0, 0.75, 0, 0, 0.25],
    ]
    assert found['data_samples'][1].gt_label.tolist() == [0]
    assert torch.equal(found['data_samples'][1].gt_score, target[1])
    found = preprocessor(data(inputs.expand(4, 3, 2, 2)), False)
    assert stack_targets(found['data_samples']).tolist() == LABELS


def test_labels_that_are_mixed_already():
    data = whole(images())
    scores = torch.rand(4, 5)
    data['data_samples'].set_fields(gt_score=scores)
    preprocessor = BatchDataPreprocessor(mixes=SWAP, num_classes=5)
    found = stack_targets(preprocessor(data, True)['data_samples'])
    torch.testing.assert_close(found, 0.75 * scores + 0.25 * scores.roll(1, 0))
    assert torch.equal(data['data_samples'].gt_score, scores)


@pytest.mark.parametrize('training', [False, True])
def test_mmpretrains_batch_augments(training):
    settings = dict(
        NORM,
        num_classes=5,
        batch_augments=dict(
            augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
        ),
    )
    inputs, found = images(), []
    for kind, data in ((ClsDataPreprocessor, listed), (BatchDataPreprocessor, whole)):
        np.random.seed(1)
        torch.manual_seed(1)
        found.append(kind(**settings)(data(inputs), training))
    assert torch.equal(found[0]['inputs'], found[1]['inputs'])
    targets = [stack_targets(d['data_samples']) for d in found]
    torch.testing.assert_close(targets[0].float(), targets[1], rtol=0, atol=1e-7)
    assert targets[1].sum(1).tolist() == pytest.approx([1] * 4)


class Syncs(TorchDispatchMode):
    """Notes operators that a device would have to be waited for."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(word in str(function) for word in ('_local_scalar_dense', 'nonzero')):
            self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


def test_nothing_is_waited_for():
    preprocessor = BatchDataPreprocessor(**NORM, transforms=ADD, mixes=SWAP, num_classes=5)
    for training in (True, False):
        with Syncs() as syncs:
            preprocessor(whole(images()), training)
        assert syncs.seen == []
    with Syncs() as syncs:  # it would be noticed
        torch.ones(3).sum().item()
    assert syncs.seen


@pytest.mark.parametrize(
    'settings, message',
    [
        (
            dict(transforms=[dict(type='RandomCrop', crop_size=8)]),
            'RandomCrop works on single images and belongs to the pipeline',
        ),
        (dict(transforms=[dict(type='RandomFlip')]), 'RandomFlip works on single'),
        (dict(transforms=[dict(type='mmpretrain.PackInputs')]), 'PackInputs work'),
        (
            dict(transforms=[dict(type='ToyAdd', amount=5)]),
            r"there is no transform 'ToyAdd' \(ours are written mmrazor_byot\.",
        ),
        (dict(transforms=[dict(type='mmrazor_byot.Nothing')]), 'there is no'),
        (dict(mixes=SWAP), 'set num_classes'),
        (dict(to_onehot=True), 'set num_classes'),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ConfigError, match=message):
        BatchDataPreprocessor(**settings)


def test_batches_that_cannot_be_augmented():
    preprocessor = BatchDataPreprocessor(transforms=ADD)
    with pytest.raises(ConfigError, match='take uint8 images, not torch.flo'):
        preprocessor(whole(images(dtype=torch.float32)), True)
    unequal = [torch.zeros(3, 4, n, dtype=torch.uint8) for n in (4, 5)]
    with pytest.raises(DatasetError, match=r'\(3, 4, 4\), \(3, 4, 5\)'):
        preprocessor(dict(inputs=unequal, data_samples=[DataSample()] * 2), True)
    with pytest.raises(ConfigError, match='needs data_samples'):
        preprocessor(dict(inputs=images()), True)
    assert preprocessor(dict(inputs=images()))['data_samples'] is None
