"""A policy as a file: what is read is what was written."""

import json

import pytest

from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    FixedExitPolicy,
    PolicyFile,
    parse_policy,
    policy_text,
    read_policy,
)
from mmrazor_byot.errors import ConfigError

FORMAT = 'mmrazor_byot exit policy 1'
CONTENT = dict(
    format=FORMAT,
    policy=dict(
        type='ConfidencePolicy', thresholds=[0.9, None], temperatures=[1.5, 1.0, 2.0], ensemble=True
    ),
    num_exits=3,
    num_classes=10,
    calibration=dict(images=119, target=0.01),
)


@pytest.fixture
def content():
    return PolicyFile(
        ConfidencePolicy([0.9, None], [1.5, 1, 2], True), 3, 10, dict(images=119, target=0.01)
    )


def test_text(content):
    text = policy_text(content)
    assert text.endswith('}\n')
    assert json.loads(text) == CONTENT


def test_written_and_read(content, tmp_path):
    path = tmp_path / 'policy.json'
    path.write_text(policy_text(content), encoding='utf-8')
    for name in (path, str(path)):
        policy, *rest = read_policy(name)
        assert type(policy) is ConfidencePolicy
        assert policy.config() == CONTENT['policy']
        assert rest == [3, 10, dict(images=119, target=0.01)]


def test_written_by_hand(tmp_path):
    path = tmp_path / 'policy.json'
    path.write_text(
        '{"format": "' + FORMAT + '", "num_classes": 5, '
        '"num_exits": 4, "policy": {"type": "FixedExitPolicy", '
        '"exit_number": 2}}'
    )
    policy, num_exits, num_classes, calibration = read_policy(path)
    assert (policy.exit_number, num_exits, num_classes) == (2, 4, 5)
    assert calibration == {}


@pytest.mark.parametrize('num_exits, num_classes', [(4, 10), (3, 100)])
def test_another_network(content, num_exits, num_classes):
    content.check(3, 10)
    with pytest.raises(
        ConfigError,
        match='calibrated for 3 exits and 10 classes, the '
        f'network has {num_exits} and {num_classes}; calibrate it again',
    ):
        content.check(num_exits, num_classes)


def test_policy_that_does_not_fit_its_own_numbers():
    with pytest.raises(ConfigError, match='exit_number=5'):
        PolicyFile(FixedExitPolicy(5), 4, 10).check(4, 10)


@pytest.mark.parametrize(
    'change, message',
    [
        (
            dict(format='mmrazor_byot exit policy 2'),
            'is no policy file: its format should be "mmrazor_byot exit policy 1", not '
            "'mmrazor_byot exit policy 2'",
        ),
        (dict(format=None), 'is no policy file'),
        (dict(policy=dict(type='Sure')), ": there is no exit policy 'Sure'"),
        (dict(policy=[1]), ': an exit policy is a dict'),
        (
            dict(policy=dict(type='ConfidencePolicy', thresholds=2)),
            ': ConfidencePolicy: thresholds=2.0',
        ),
        (dict(num_exits=4), ': ConfidencePolicy: 3 temperatures'),
        (dict(num_exits='3'), r": num_exits and num_classes are \('3', 10\)"),
        (dict(num_classes=1.5), r': num_exits and num_classes are \(3, 1.5\)'),
        (dict(num_classes=0), r': num_exits and num_classes are \(3, 0\)'),
        (dict(num_exits=True), r': num_exits and num_classes are \(True, 10\)'),
    ],
)
def test_content_that_cannot_be(change, message):
    with pytest.raises(ConfigError, match=f'^the file{message}|^the file {message}'):
        parse_policy({**CONTENT, **change}, 'the file')


@pytest.mark.parametrize('missing', ['policy', 'num_exits', 'num_classes'])
def test_content_that_is_missing(missing):
    data = {k: v for k, v in CONTENT.items() if k != missing}
    with pytest.raises(ConfigError, match=f"the file lacks .'{missing}'"):
        parse_policy(data, 'the file')


@pytest.mark.parametrize('data', [[1], 'text', 3, None])
def test_json_that_is_no_dict(data):
    with pytest.raises(ConfigError, match='the file is no policy file'):
        parse_policy(data, 'the file')


def test_missing_file(tmp_path):
    for path in (tmp_path / 'none.json', tmp_path):
        with pytest.raises(ConfigError, match=f'"{path}" does not exist'):
            read_policy(path)


@pytest.mark.parametrize(
    'data',
    [
        b'',
        policy_text(PolicyFile(FixedExitPolicy(), 4, 10)).encode()[:-3],
        b'\x80\x04\xff',
        b'not json',
    ],
)
def test_broken_file(tmp_path, data):
    path = tmp_path / 'policy.json'
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=f'"{path}" is truncated or no JSON'):
        read_policy(path)
