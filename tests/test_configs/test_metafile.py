"""metafile.yml and model-index.yml say what the configs say."""

import pytest
import yaml
from recipes import BYOT, load, table_rows
from run import ROOT

from mmrazor_byot.datasets import image_settings

INDEX = yaml.safe_load((ROOT / 'model-index.yml').read_text())
METAFILE = yaml.safe_load((ROOT / 'configs/distill/mmcls/byot/metafile.yml').read_text())
MODELS = METAFILE['Models']
DATA = dict(
    CIFAR100='CIFAR-100',
    ImageNet='ImageNet-1k',
    Digits='scikit-learn digits',
    PackedImages='Tiny ImageNet 32 x 32',
)

each_model = pytest.mark.parametrize('entry', MODELS, ids=lambda e: e['Name'])


def test_the_index_names_the_metafile_and_it_the_right_paper():
    assert INDEX['Import'] == ['configs/distill/mmcls/byot/metafile.yml']
    (collection,) = METAFILE['Collections']
    assert collection['Name'] == 'BYOT'
    assert collection['Paper']['URL'] == 'https://arxiv.org/abs/1905.08094'
    assert collection['Paper']['Title'].startswith('Be Your Own Teacher: ')
    assert collection['Code']['URL'].startswith('https://github.com/')
    assert '<!-- [ALGORITHM] -->' in (ROOT / collection['README']).read_text()


def test_every_recipe_has_an_entry():
    names = [entry['Name'] for entry in MODELS]
    assert len(names) == len(set(names))
    assert set(BYOT) <= set(names)


@each_model
def test_paths(entry):
    config = ROOT / entry['Config']
    assert config.is_file(), f'{entry["Config"]} is missing'
    assert config.stem == entry['Name']
    assert entry['In Collection'] == 'BYOT'
    assert entry.get('Weights', 'https://').startswith('https://')
    shipped = entry['Metadata'].get('Shipped Weights')
    assert shipped is None or (ROOT / shipped).is_file()


@each_model
def test_numbers(entry):
    cfg = load(entry['Name'])
    costs = table_rows(entry['Name'])
    data = image_settings(cfg.train_dataloader.dataset).type.split('.')[-1]
    metadata = dict(entry['Metadata'])
    metadata.pop('Shipped Weights', None)
    assert metadata == {
        'Training Data': DATA[data],
        'Epochs': cfg.train_cfg.max_epochs,
        'Batch Size': cfg.auto_scale_lr.base_batch_size,
        'Parameters': costs['params'][0],
        'FLOPs': costs['FLOPs'][0],
    }


@each_model
def test_no_accuracy_without_its_weights(entry):
    results = entry.get('Results', [])
    assert bool(results) == ('Weights' in entry or 'Shipped Weights' in entry['Metadata'])
    for result in results:
        assert result['Dataset'] == entry['Metadata']['Training Data']
        assert 0 < result['Metrics']['Top 1 Accuracy'] <= 100


@each_model
def test_mim_can_read_it(entry):
    """As openmim 0.3.9 does.

    Its search looks for names in lower case, its download wants a text for the weights of each
    model, and both fail on lists and values that are empty. Without Weights, the collection's own
    appear in: none.
    """
    assert entry['Name'] == entry['Name'].lower()
    assert all(value not in (None, []) for value in (*entry.values(), *entry['Metadata'].values()))
    assert METAFILE['Collections'][0]['Metadata']['Weight'] == ''
