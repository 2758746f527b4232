"""Which settings of a config are refused before anything is built, and ``--cfg-options``."""

import argparse

import pytest
from run import DIGITS

from mmrazor_byot.cfg_options import add_config_options, parse_value
from mmrazor_byot.config_file import load_config
from mmrazor_byot.errors import MAX_LENGTH, ByotError, ConfigError, DatasetError


@pytest.mark.parametrize(
    'text, value',
    [
        ('my data/a  b', 'my data/a  b'),
        ('[a b, (1, .5)]', ['a b', (1, 0.5)]),
        ('a b,c', ['a b', 'c']),
        ('"[2, 3]"', [2, 3]),
        ("['a, b']", ['a, b']),
        ('[{"a": 1}, {"b": [1]}]', [dict(a=1), dict(b=[1])]),
        ('[{a: 1}]', ['{a: 1}']),
        ('[dict(type=A, x=1)]', ['dict(type=A, x=1)']),
        ('[1,2', '[1,2'),
        ('1e-3', 0.001),
        ('true', True),
        ('None', None),
        ('[]', []),
        ('', ''),
    ],
)
def test_values(text, value):
    assert repr(parse_value(text)) == repr(value)


def parse(*words):
    parser = argparse.ArgumentParser()
    add_config_options(parser)
    return parser.parse_args(['--cfg-options', *words]).cfg_options


def test_options():
    assert parse('a=1', 'b.c=d=e', 'a=2') == {'a': 2, 'b.c': 'd=e'}


@pytest.mark.parametrize('word', ['lr', '=1', 'a..b=1', '.a=1', f'a={"[" * 50}x{"]" * 50}'])
def test_options_that_are_none(word):
    with pytest.raises(ConfigError, match='--cfg-options'):
        parse(word)


@pytest.mark.parametrize(
    'key, message',
    [
        ('max_epochs', 'max_epochs: nothing reads this key; is train_cfg.max_epochs meant'),
        ('lr', 'is optim_wrapper.optimizer.lr meant'),
        ('optim_wraper.optimizer.lr', 'is optim_wrapper.optimizer.lr meant'),
        ('policies.0.type', 'policies.0.type: nothing reads this key'),
        ('launcher', '--launcher'),
        ('train_dataloader.bach_size', 'is train_dataloader.batch_size meant'),
        ('train_dataloader.batch_size', "train_dataloader.batch_size='x': a whole number"),
        ('val_dataloader.num_workers', "val_dataloader.num_workers='x': a whole number"),
        ('test_dataloader.dataset', "test_dataloader.dataset='x': a dict with a type is needed"),
        ('env_cfg.cudnn_benchmrk', 'is env_cfg.cudnn_benchmark meant'),
        ('auto_scale_lr.enabled', 'is auto_scale_lr.enable meant'),
        ('randomness.sed', 'is randomness.seed meant'),
        ('train_cfg.max_epochs', "train_cfg.max_epochs='x'"),
        ('model', "model='x': a dict of settings is needed"),
    ],
)
def test_options_that_nothing_reads(key, message):
    with pytest.raises(ConfigError) as caught:
        load_config(DIGITS, {key: 'x'})
    assert message in str(caught.value)


@pytest.mark.parametrize('epochs', [0, -1, 1.5, True, None])
def test_training_that_trains_nothing(epochs):
    with pytest.raises(ConfigError, match='train_cfg.max_epochs=.*at least 1'):
        load_config(DIGITS, {'train_cfg.max_epochs': epochs})


@pytest.mark.parametrize('key', ['optim_wraper', 'train_dataloder', 'custom_hook', 'randomnes'])
def test_misspelt_key_of_a_file(tmp_path, key):
    (tmp_path / 'a.py').write_text(f'_base_ = "{DIGITS}"\n{key} = dict(x=1)\n')
    with pytest.raises(ConfigError, match=f'unknown key {key}: is {key[:6]}.* meant'):
        load_config(tmp_path / 'a.py')


def test_variables_of_a_file_stay(tmp_path):
    """As in mmpretrain's recipes; also names that resemble a key a little."""
    names = 'train_pipeline', 'dataset_type', 'data_root', 'train_loader', 'policies', 'my_model'
    text = ''.join(f'{name} = 1\n' for name in names)
    (tmp_path / 'a.py').write_text(f'_base_ = "{DIGITS}"\n{text}train_cfg = dict(max_epochs=2)\n')
    assert load_config(tmp_path / 'a.py').data_root == 1


@pytest.mark.parametrize('text', ['"./a.py"', '["./b.py"]'])
def test_config_that_inherits_from_itself(tmp_path, text):
    (tmp_path / 'a.py').write_text(f'_base_ = {text}\n')
    (tmp_path / 'b.py').write_text('_base_ = "../x/a.py"\n'.replace('x', tmp_path.name))
    with pytest.raises(ConfigError, match='a.py" inherits from itself'):
        load_config(tmp_path / 'a.py')


@pytest.mark.parametrize(
    'text, reason',
    [
        ('raise ValueError("one\\ntwo")', 'ValueError: one; two'),
        ('exit()', 'SystemExit'),
        ('raise ValueError("\\x1b[31m")', 'ValueError: \\x1b[31m'),
        ('custom_imports = dict(imports=["no.such"])', "No module named 'no'"),
    ],
)
def test_reason_is_one_line(tmp_path, text, reason):
    (tmp_path / 'a.py').write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / 'a.py')
    line = str(caught.value)
    assert reason in line and line.isprintable()


def test_package_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'package_of_a_user.py').write_text('')
    (tmp_path / 'a.py').write_text('custom_imports = dict(imports=["package_of_a_user"])')
    assert load_config('a.py').custom_imports


def test_every_error_is_one_line():
    assert str(ByotError('a\n  b\tc\x00\udcff é')) == 'a; b\\tc\\x00\\udcff é'
    assert len(str(ByotError('x' * 10**6))) < MAX_LENGTH + 10
    from_a_worker = 'Caught DatasetError in DataLoader worker process 0.\nOriginal Traceback (most '
    from_a_worker += (
        'recent call last):\n  File "x.py"\nmmrazor_byot.errors.DatasetError: it broke\n'
    )
    assert str(DatasetError(from_a_worker)) == 'it broke'
