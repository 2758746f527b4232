"""Batches are prepared as mmpretrain prepares them; then augmented whole."""

import numpy as np
import pytest
import torch
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from waits import Waits

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.models import BatchDataPreprocessor
from mmrazor_byot.registry import MODELS
from mmrazor_byot.structures import BatchSamples, stack_targets

NORM = dict(mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418])
LABELS = [3, 0, 4, 1]


class ToyAdd:
    """A batch transform: adds to each pixel."""

    def __init__(self, amount):
        self.amount = amount

    def __call__(self, images):
        assert images.dtype == torch.uint8
        return images + self.amount


ADD = [dict(type=ToyAdd, amount=5)]
MIX = dict(
    num_classes=5,
    batch_augments=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)


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
        *(dict(), dict(to_rgb=True), NORM, dict(NORM, to_rgb=True)),
        *(dict(mean=[1, 2, 3], std=[4, 5, 6]), dict(NORM, pad_size_divisor=5, pad_value=7)),
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
    mean, std = np.float32(NORM['mean']), np.float32(NORM['std'])
    by_hand = (np.arange(256, dtype=np.float32)[:, None] - mean) / std
    assert np.array_equal(found[:, :, 0, 0].numpy(), by_hand)
    assert torch.equal(found, found[..., :1, :1].expand_as(found))


@pytest.mark.parametrize('data', [whole, listed])
def test_transforms_come_first_and_in_training_only(data):
    settings = dict(transforms=ADD * 2, mean=[10] * 3, std=[2] * 3)
    preprocessor = MODELS.build(dict(settings, type='mmrazor_byot.BatchDataPreprocessor'))
    inputs = torch.full((4, 3, 2, 2), 100, dtype=torch.uint8)
    for training, pixel in ((True, 50), (False, 45)):
        found = preprocessor(data(inputs), training)
        assert found['inputs'].unique().tolist() == [pixel]
        assert stack_targets(found['data_samples']).tolist() == LABELS
    assert preprocessor(data(list(inputs)), True)['inputs'].mean() == 50
    assert not preprocessor.state_dict()


def test_transforms_see_rgb():
    """BGR images are turned before."""
    seen = []
    preprocessor = BatchDataPreprocessor(to_rgb=True, transforms=[lambda x: seen.append(x) or x])
    inputs = images()
    found = preprocessor(whole(inputs), True)['inputs']
    assert torch.equal(seen[0], inputs.flip(1))
    assert torch.equal(found, inputs.flip(1).float())


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('data', [whole, listed])
@pytest.mark.parametrize('added_to', [False, True])
@pytest.mark.parametrize('mixed', [False, True])
def test_mixup_and_cutmix_are_mmpretrains(data, training, added_to, mixed):
    """In numbers, after the transforms, of labels and of scores; six seeds draw both."""
    inputs, scores = images() // 2, torch.rand(4, 5).softmax(1)
    added = inputs + 5 if added_to and training else inputs
    transforms = ADD if added_to else []
    theirs = ClsDataPreprocessor(**NORM, **MIX)
    ours = BatchDataPreprocessor(**NORM, **MIX, transforms=transforms)
    for seed in range(6):
        batches = listed(added), data(inputs)
        if mixed:
            for batch in batches:
                BatchSamples.of(batch['data_samples']).set_fields(gt_score=scores)
        found = []
        for preprocessor, batch in zip((theirs, ours), batches):
            np.random.seed(seed)
            torch.manual_seed(seed)
            found.append(preprocessor(batch, training))
        assert torch.equal(found[0]['inputs'], found[1]['inputs'])
        targets = [stack_targets(d['data_samples']).float() for d in found]
        torch.testing.assert_close(*targets, rtol=0, atol=1e-7)
        one_hot = scores if mixed else torch.eye(5)[LABELS]
        assert training or torch.equal(targets[1], one_hot)
        assert found[1]['data_samples'][2].gt_label.tolist() == [LABELS[2]]


def test_nothing_is_waited_for():
    preprocessor = BatchDataPreprocessor(**NORM, transforms=ADD, to_onehot=True, num_classes=5)
    for training in (True, False):
        with Waits() as waits:
            preprocessor(whole(images()), training)
        assert waits.places == []


@pytest.mark.parametrize('mixed', [False, True])
@pytest.mark.parametrize('data', [whole, listed])
@pytest.mark.parametrize('transforms', [[], ADD])
def test_no_copy_to_the_device_is_waited_for(transforms, data, mixed):
    """``meta`` is another device than the CPU that is always there."""
    preprocessor = BatchDataPreprocessor(**NORM, transforms=transforms).to('meta')
    batch = data(images())
    if mixed:
        BatchSamples.of(batch['data_samples']).set_fields(gt_score=torch.rand(4, 5))
    with Waits() as waits:
        samples = preprocessor(batch, True)['data_samples']
    assert waits.places == []
    assert stack_targets(samples).is_meta
    assert stack_targets(samples).shape == ((4, 5) if mixed else (4,))


def test_several_labels_an_image_are_copied_to_the_device():
    samples = [DataSample().set_gt_label(labels) for labels in ([3], [0, 2], [4, 1, 2])]
    preprocessor = BatchDataPreprocessor(**NORM).to('meta')
    preprocessor(dict(inputs=images()[:3], data_samples=samples), True)
    assert [len(sample.gt_label) for sample in samples] == [1, 2, 3]
    assert all(sample.gt_label.is_meta for sample in samples)


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(transforms=[dict(type='RandomCrop', crop_size=8)]), 'Crop works on single images'),
        (dict(transforms=[dict(type='mmpretrain.PackInputs')]), 'PackInputs work'),
        (dict(transforms=[dict(type='ToyAdd', amount=5)]), "there is no transform 'ToyAdd'"),
        (dict(batch_augments=MIX['batch_augments']), 'set num_classes'),
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
