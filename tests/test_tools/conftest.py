import pytest
from run import DIGITS, QUICK, succeeded, tool
from students import BACKBONES, save_weights, write_config


@pytest.fixture(scope='session')
def quick_run(tmp_path_factory):
    """Work dir of a small digits network after two epochs, one process."""
    work_dir = tmp_path_factory.mktemp('quick')
    succeeded(
        tool(
            'train.py',
            DIGITS,
            '--work-dir',
            work_dir,
            '--cfg-options',
            'train_cfg.max_epochs=2',
            *QUICK,
        )
    )
    return work_dir


@pytest.fixture
def resnet(tmp_path):
    """Config, model and checkpoint of a narrow ResNet-18 of 5 classes."""
    cfg = write_config(tmp_path / 'resnet.py', BACKBONES['resnet'])
    return cfg, *save_weights(cfg, tmp_path / 'resnet.pth')
