"""What the zoo lists."""

from pathlib import Path

import pytest

from mmrazor_byot.zoo import ZooError, find_model, index, list_models

OURS = 'byot_mmrazor_resnet18_8xb16_cifar100'


def test_mmrazors_entry_is_in_the_projects_own_index():
    model = find_model(OURS)
    assert model.weights == (
        'https://download.openmmlab.com/mmrazor/v1/byot/'
        'byot_resnet18_8xb16_cifar100_20220817_191217-0251084e.pth'
    )
    assert model.file_name == ('byot_resnet18_8xb16_cifar100_20220817_191217-0251084e.pth')
    assert model.shipped is None
    assert (model.dataset, model.top1) == ('CIFAR-100', 80.66)
    assert model.config.endswith(f'{OURS}.py')


def test_reads_all_fields(zoo):
    zoo.add(
        'net_a',
        Config='configs/net_a.py',
        Weights='weights/net_a-01234567.pth',
        Metadata={'Params': 1234, 'FLOPs': '5.6e8'},
        Results=[
            {'Dataset': 'COCO', 'Metrics': {'mAP': 1.0}},
            {'Dataset': 'Digits', 'Metrics': {'Top 1 Accuracy': 98.5}},
        ],
    )
    zoo.add('net_b', Metadata={'Training Data': ['A', 'B'], 'Parameters': 7})
    a, b = list_models()
    assert (a.name, a.config) == ('net_a', 'configs/net_a.py')
    assert (a.params, a.flops, a.top1) == (1234, 5.6e8, 98.5)
    assert a.dataset == 'Digits'
    assert a.shipped == zoo.root / 'weights/net_a-01234567.pth'
    assert (b.name, b.params, b.dataset) == ('net_b', 7, 'A, B')
    assert b.weights is b.file_name is b.shipped is b.top1 is b.flops is None


def test_unknown_name_suggests_the_closest(zoo):
    zoo.add('byot_resnet18_cifar100')
    zoo.add('other')
    with pytest.raises(ZooError, match='mean byot_resnet18_cifar100[?]'):
        find_model('byot_resnet18_cifar10')
    with pytest.raises(ZooError, match="no model 'zzz': see the list"):
        find_model('zzz')


@pytest.mark.parametrize(
    'entry, message',
    [
        (dict(Metadata={'FLOPs': 'many'}), "net: FLOPs is 'many'"),
        (dict(Metadata={'Params': True}), 'net: Parameters is True'),
        (dict(Metadata=[1]), r'net: Metadata is \[1\]'),
        (dict(Results=[3]), 'net: Results is 3'),
        (dict(Weights=['a', 'b']), 'net: Weights is .*: give one address'),
        (dict(Name=''), 'a model has no Name'),
    ],
)
def test_bad_entry_is_named(zoo, entry, message):
    zoo.models.append({'Name': 'net', **entry})
    zoo.write()
    with pytest.raises(ZooError, match=message):
        list_models()


def test_bad_files_are_named(zoo):
    zoo.add('net')
    zoo.add('net')
    with pytest.raises(ZooError, match='name net is taken'):
        list_models()
    metafile = zoo.root / 'metafile.yml'
    for text, message in [
        ('Models: [', 'can not read .*metafile.yml: .*'),
        ('a: 1', "metafile.yml has no list 'Models'"),
        ('', "metafile.yml has no list 'Models'"),
    ]:
        metafile.write_text(text)
        with pytest.raises(ZooError, match=message) as caught:
            list_models()
        assert '\n' not in str(caught.value)
    metafile.unlink()
    with pytest.raises(ZooError, match='metafile.yml: .*No such file'):
        list_models()


def test_root_is_mim_folder_then_checkout(tmp_path, monkeypatch):
    package = tmp_path / 'mmrazor_byot'
    (package / '.mim').mkdir(parents=True)
    monkeypatch.setattr(index, '__file__', str(package / 'zoo/index.py'))
    with pytest.raises(ZooError, match='no model-index.yml in'):
        index.find_root()
    (tmp_path / 'model-index.yml').touch()
    assert index.find_root() == Path(tmp_path)
    (package / '.mim/model-index.yml').touch()
    assert index.find_root() == package / '.mim'
