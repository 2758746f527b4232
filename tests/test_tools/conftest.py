import pytest
from cut_classifiers import BACKBONES, save_weights, write_config


@pytest.fixture
def resnet(tmp_path):
    """Config, model and checkpoint of a narrow ResNet-18 of 5 classes."""
    cfg = write_config(tmp_path / 'resnet.py', BACKBONES['resnet'])
    return cfg, *save_weights(cfg, tmp_path / 'resnet.pth')
