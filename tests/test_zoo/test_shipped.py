"""The zoo's own entry: it ships with the project and does what it says."""

import mmpretrain
import pytest
import torch
import yaml
from run import DIGITS, ROOT, exits, succeeded, tool

from mmrazor_byot.checkpoint import load_from_local
from mmrazor_byot.zoo import download, find_model, list_models, verify

NAME = 'byot_resnet18_2xb64_digits'


def test_the_shipped_file_is_good(tmp_path):
    model = find_model(NAME)
    assert model.shipped.stat().st_size < 1 << 20
    copy = download(NAME, tmp_path, progress=False)
    assert copy.read_bytes() == model.shipped.read_bytes()
    found = verify(copy)
    assert found.expected_sha256 and found.sha256.startswith(found.expected_sha256)
    assert found.others == []  # weights and plain metadata alone
    assert found.meta['dataset_meta']['classes'] == tuple('0123456789')


def test_every_name_is_there_once():
    models = {model.name: model for model in list_models()}
    assert len(models) == len(list_models()) > 20
    mmrazors = models['byot_mmrazor_resnet18_8xb16_cifar100']
    assert mmrazors.file_name == 'byot_resnet18_8xb16_cifar100_20220817_191217-0251084e.pth'
    assert (mmrazors.dataset, mmrazors.top1, mmrazors.shipped) == ('CIFAR-100', 80.66, None)
    assert all((model.root / model.config).is_file() for model in models.values())


def test_mmpretrain_knows_the_zoo(tmp_path, monkeypatch):
    monkeypatch.setenv('MMRAZOR_BYOT_HOME', str(tmp_path))
    assert set(mmpretrain.list_models('byot_')) == {model.name for model in list_models()}
    network = mmpretrain.get_model(NAME, pretrained=True)
    assert network._dataset_meta['classes'] == tuple('0123456789')
    weights = load_from_local(find_model(NAME).shipped)['state_dict']
    state = network.state_dict()
    assert weights and all(torch.equal(state[key], value) for key, value in weights.items())


def test_it_has_the_accuracy_that_the_metafile_says(tmp_path):
    home = str(tmp_path / 'home')
    words = 'test.py', DIGITS, f'zoo://{NAME}', '--work-dir', tmp_path
    succeeded(tool(*words, MMRAZOR_BYOT_HOME=home))
    rows = {row['exit']: row for row in exits(tmp_path)}
    metafile = yaml.safe_load((ROOT / 'configs/distill/mmcls/byot/metafile.yml').read_text())
    (entry,) = (e for e in metafile['Models'] if e['Name'] == NAME)
    metrics = entry['Results'][0]['Metrics']
    # One image of 599 may fall otherwise on another processor.
    assert rows['4/4']['top1'] == pytest.approx(metrics['Top 1 Accuracy'], abs=0.17)
    assert rows['4/4']['params'] == entry['Metadata']['Parameters']
