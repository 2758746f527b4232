import pytest
from run import DIGITS, QUICK, succeeded, tool


@pytest.fixture(scope='session')
def quick_run(tmp_path_factory):
    """Work dir of a small digits network after two epochs, one process."""
    work_dir = tmp_path_factory.mktemp('quick')
    succeeded(
        tool('train.py', DIGITS, '--work-dir', work_dir, '--cfg-options',
             'train_cfg.max_epochs=2', *QUICK))
    return work_dir
