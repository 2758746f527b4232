"""Data sets, metrics and classifier have the same classes, before the first step."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.datasets import BaseDataset, CustomDataset
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from torch import nn

from mmrazor_byot.datasets import ImageBatches
from mmrazor_byot.datasets import checks as checks_of_data
from mmrazor_byot.engine import LabelCheckHook
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.evaluation import BatchEvaluator, ExitAccuracy
from mmrazor_byot.structures import BatchSamples

MODES = ['train', 'val', 'test']
each_mode = pytest.mark.parametrize('mode', MODES)


def model(num_classes=10, **attributes):
    network = nn.Linear(1, 1)
    network.num_classes = num_classes
    for name, value in attributes.items():
        setattr(network, name, value)
    return network


def plain():
    """A classifier whose head knows the number of classes."""
    network = nn.Linear(1, 1)
    network.head = model()
    return network


class InMemory:
    """A data set that has its labels at hand."""

    def __init__(self, classes='abcdefghij', labels=()):
        self.metainfo, self.labels = dict(classes=tuple(classes)), labels or range(len(classes))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        raise AssertionError('an image is read')

    def get_gt_labels(self):
        return np.array(self.labels)


def start(network=None, loader=(), metrics=(), hook=None, checkpoint=None, **datasets):
    """Begin a run with a data set for each mode."""
    runner = SimpleNamespace(model=network or model(), _resume=False, _train_loop=None)
    for mode, dataset in datasets.items():
        loop = SimpleNamespace(
            dataloader=torch.utils.data.DataLoader(dataset, **dict(loader)),
            evaluator=BatchEvaluator(list(metrics)),
        )
        setattr(runner, f'_{mode}_loop', loop)
    hook = hook or LabelCheckHook()
    hook.before_run(runner)
    if checkpoint:
        hook.after_load_checkpoint(runner, checkpoint)
    return hook


def check(hook, mode, data, network=None):
    """Begin an iteration."""
    runner = SimpleNamespace(model=network or model())
    getattr(hook, f'before_{mode}_iter')(runner, batch_idx=0, data_batch=data)


def batch(*labels):
    return dict(data_samples=[DataSample().set_gt_label(label) for label in labels])


def whole(labels):
    return dict(data_samples=BatchSamples(gt_label=labels))


@pytest.mark.parametrize('network', [model(), plain(), nn.DataParallel(model())])
@each_mode
def test_number_of_classes(network, mode):
    start(network, **{mode: InMemory()})
    for classes in ('abcdefghi', 'abcdefghijk'):
        message = (
            f"head has 10 classes, but the data of {mode}_dataloader have {len(classes)}: 'a', "
            f"'b', 'c', 'd', 'e' and {len(classes) - 5} more"
        )
        with pytest.raises(ConfigError, match=message):
            start(network, **{mode: InMemory(classes)})


@pytest.mark.parametrize(
    'val, difference',
    [
        (('bee', 'cat', 'dog'), "val_dataloader .*train_dataloader: 'ant' missing, 'dog' added"),
        (('bee', 'cat'), "'ant' missing. "),
        (('ant', 'bee', 'cat', 'dog'), "'dog' added. "),
        (('ant', 'cat', 'bee'), "class 1 is 'cat' instead of 'bee'"),
    ],
)
def test_names_of_classes(val, difference):
    """With any number of them; never an advice that shifts the labels."""
    train = InMemory(('ant', 'bee', 'cat'))
    with pytest.raises(DatasetError, match=difference) as caught:
        start(model(3), train=train, val=InMemory(val))
    assert 'num_classes' not in str(caught.value)
    for meta in (dict(dataset_meta=train.metainfo), dict(CLASSES=['ant', 'bee', 'cat'])):
        start(model(3), test=train, checkpoint=dict(meta=meta))
        with pytest.raises(DatasetError, match=difference.replace('train_data', 'the chec')[-20:]):
            start(model(len(val)), test=InMemory(val), checkpoint=dict(meta=meta))


def test_a_fine_tuned_checkpoint_may_have_other_classes():
    runner = SimpleNamespace(
        _resume=False,
        _train_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=InMemory('ab'))),
    )
    checkpoint = dict(meta=dict(dataset_meta=dict(classes=('x', 'y'))))
    LabelCheckHook().after_load_checkpoint(runner, checkpoint)
    runner._resume = True
    with pytest.raises(DatasetError, match="'x', 'y' missing, 'a', 'b' added"):
        LabelCheckHook().after_load_checkpoint(runner, checkpoint)


def test_unknown_classes():
    """Network or data do not say them: there is nothing to compare."""
    for network, classes in ((model(), ()), (nn.Linear(1, 1), 'ab')):
        hook = start(network, train=InMemory(classes, [0, 1]))
        check(hook, 'train', batch(9), network)


@each_mode
def test_no_batch(mode):
    start(loader=dict(batch_size=10, drop_last=True), **{mode: InMemory()})
    message = f'{mode}_dataloader has no batch: its 10 images are fewer than batch_size=11'
    with pytest.raises(ConfigError, match=message):
        start(loader=dict(batch_size=11, drop_last=True), **{mode: InMemory()})


@pytest.mark.parametrize('metric', [ExitAccuracy, Accuracy])
@pytest.mark.parametrize('topk, fitting', [((1, 5), r'\(1,\)'), ((2, 3, 4), r'\(2, 3\)'), (5, '1')])
def test_topk(metric, topk, fitting):
    data = dict(train=InMemory('abc'), val=InMemory('abc'))
    start(model(3), metrics=[metric(topk=(1, 3))], **data)
    message = f'val_evaluator: {metric.__name__} has topk=.* only 3 classes: set topk=.?{fitting}'
    with pytest.raises(ConfigError, match=message):
        start(model(3), metrics=[metric(topk=topk)], **data)


@pytest.mark.parametrize('count', [5, 12, None])
def test_mixup_of_other_classes(count):
    mixup = dict(augments=[dict(type='Mixup', alpha=0.8)])
    for found, augments in ((10, mixup), (count, None)):  # alone it means nothing
        preprocessor = ClsDataPreprocessor(num_classes=found, batch_augments=augments)
        start(model(data_preprocessor=preprocessor), train=InMemory())
    preprocessor = ClsDataPreprocessor(num_classes=count, batch_augments=mixup)
    with pytest.raises(ConfigError, match=f'num_classes={count}, .*set num_classes=10 there'):
        start(model(data_preprocessor=preprocessor), train=InMemory())


def folders(root, **counts):
    """A folder for each class, with so many empty files."""
    for name, count in counts.items():
        for i in range(count):
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / f'{i}.png').touch()
    return root


def test_hidden_folders_are_no_classes(tmp_path):
    folders(tmp_path, a=2, b=1)
    folders(tmp_path, **{'.ipynb_checkpoints': 3})
    folders(tmp_path / 'b', **{'.thumbnails': 2})
    dataset = CustomDataset(str(tmp_path))
    assert dataset.metainfo['classes'] == ('a', 'b')
    assert dataset.get_gt_labels().tolist() == [0, 0, 1]


def test_folders_without_images(tmp_path):
    folders(tmp_path, a=2, b=1, c=1)
    (tmp_path / 'b/0.png').rename(tmp_path / 'b/0.webp')
    message = f"train_dataloader has no images of 'b': .*{tmp_path.name}/ .*.bmp, .jpeg, .jpg"
    data = CustomDataset(str(tmp_path))
    with pytest.raises(DatasetError, match=message):
        start(model(3), train=data)
    with pytest.warns(UserWarning, match="val_dataloader has no images of 'b'$"):
        start(model(3), val=data)
    (tmp_path / 'b/0.webp').rename(tmp_path / 'b/0.png')
    start(model(3), train=CustomDataset(str(tmp_path)))


def test_classes_without_images_are_named():
    with pytest.warns(UserWarning, match="train_dataloader has no images of 'b', 'd'$"):
        start(model(4), train=InMemory('abcd', [0, 2, 2]), val=InMemory('abcd', [1]))


@pytest.mark.parametrize('network', [model(), plain()])
@each_mode
@pytest.mark.parametrize('label', [10, -1, 255])
def test_label_out_of_range(network, mode, label):
    hook = LabelCheckHook()
    check(hook, mode, batch(0, 9), network)
    check(hook, mode, whole(torch.tensor([0, 9])), network)
    message = f'{mode}_dataloader has the label {label}, but the head has 10 classes, 0 to 9'
    for wrong in (
        batch(3, label, 77),
        batch([1, 2], [3, label]),  # several labels a sample
        whole(torch.tensor([3, label, 77])),
    ):
        with pytest.raises(DatasetError, match=message):
            check(hook, mode, wrong, network)
    with pytest.raises(DatasetError, match=message):
        start(network, **{mode: InMemory(labels=[3, label, 77])})


@each_mode
def test_only_the_first_epoch_is_checked(mode):
    hook = LabelCheckHook()
    check(hook, mode, batch(1))
    getattr(hook, f'after_{mode}_epoch')(SimpleNamespace())
    check(hook, mode, batch(10))
    for other in set(MODES) - {mode}:
        with pytest.raises(DatasetError):
            check(hook, other, batch(10))


@each_mode
def test_labels_in_memory_are_not_checked_again(mode):
    hook = start(**{mode: InMemory()})
    check(hook, mode, batch(99))


def test_the_labels_of_many_samples_are_left_to_the_batches(monkeypatch):
    """mmpretrain's own answer unpickles each of a million."""

    class OnDisk(BaseDataset):
        def load_data_list(self):
            return [dict(gt_label=12)] * 3

    data = OnDisk('')
    with pytest.raises(DatasetError, match='train_dataloader has the label 12'):
        start(train=data)
    monkeypatch.setattr(checks_of_data, 'MAX_READ', 2)
    with pytest.raises(DatasetError, match='has the label 12'):
        check(start(train=data), 'train', batch(12))


@pytest.mark.parametrize(
    'scores, total',
    [([1, 0, 1], '2'), ([0, 0, 0], '0'), ([1.5, -0.5, 0], '1'), ([0.5, 0, 0], '0.5')],
)
def test_scores_that_are_no_probabilities(scores, total):
    """Such as several labels of an image, of which softmax would make one."""
    good = DataSample().set_gt_score(torch.tensor([0.25, 0.75, 0.0]))
    wrong = DataSample().set_gt_score(torch.tensor(scores).float())
    hook = start(model(3), train=InMemory('abc'))
    samples = [good, wrong], BatchSamples(gt_score=torch.stack([good.gt_score, wrong.gt_score]))
    for sample in samples:
        data = dict(data_samples=sample)
        check(hook, 'train', data, model(3))  # a network of several labels
        with pytest.raises(DatasetError, match=f'train_dataloader .* sum to {total}: exits are'):
            check(hook, 'train', data, model(3, num_exits=2))
    check(hook, 'train', dict(data_samples=[good, good]), model(3, num_exits=2))


def test_image_batches():
    """All labels at once; and images on a GPU cannot be read by workers."""
    dataset = ImageBatches(dict(type='mmrazor_byot.Digits', indices=20))
    start(loader=dict(num_workers=1), train=dataset)
    dataset.labels[13] = 10
    with pytest.raises(DatasetError, match='has the label 10'):
        start(loader=dict(num_workers=1), train=dataset)
    dataset.images = SimpleNamespace(is_cuda=True, device='cuda:0')
    with pytest.raises(ConfigError, match='cuda:0: set num_workers=0'):
        start(loader=dict(num_workers=1), train=dataset)


def test_labels_on_a_gpu_are_left_alone():
    class OnGpu(torch.Tensor):
        is_cuda = True

    labels = torch.tensor([10]).as_subclass(OnGpu)
    check(LabelCheckHook(), 'train', whole(labels))


@pytest.mark.parametrize(
    'data',
    [
        None,
        torch.ones(3),
        dict(inputs=torch.ones(3)),
        dict(data_samples=[]),
        dict(data_samples=[DataSample()]),
    ],
)
def test_batches_without_labels(data):
    check(LabelCheckHook(), 'test', data)
