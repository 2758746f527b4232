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


def test_written_and_read(content, tmp_path):
    text = policy_text(content)
    assert text.endswith('}\n') and json.loads(text) == CONTENT
    path = tmp_path / 'policy.json'
    path.write_text(text, encoding='utf-8')
    for name in (path, str(path)):
        policy, *rest = read_policy(name)
        assert type(policy) is ConfidencePolicy
        assert policy.config() == CONTENT['policy']
        assert rest == [3, 10, dict(images=119, target=0.01)]


def test_written_by_hand():
    policy = dict(type='FixedExitPolicy', exit_number=2)
    data = dict(format=FORMAT, num_classes=5, num_exits=4, policy=policy)
    found, num_exits, num_classes, calibration = parse_policy(data, 'the file')
    assert (found.exit_number, num_exits, num_classes) == (2, 4, 5)
    assert calibration == {}


@pytest.mark.parametrize('num_exits, num_classes', [(4, 10), (3, 100)])
def test_another_network(content, num_exits, num_classes):
    content.check(3, 10)
    message = f'3 exits and 10 classes, .* {num_exits} and {num_classes}'
    with pytest.raises(ConfigError, match=message):
        content.check(num_exits, num_classes)
    with pytest.raises(ConfigError, match='exit_number=5'):
        PolicyFile(FixedExitPolicy(5), 4, 10).check(4, 10)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(format=f'{FORMAT[:-1]}2'), f'should be "{FORMAT}", not .* policy 2'),
        (dict(policy=dict(type='Sure')), "there is no exit policy 'Sure'"),
        (dict(policy=dict(type='FixedExitPolicy', exit_number=float('inf'))), 'cannot take'),
        (dict(policy=[1]), 'an exit policy is a dict'),
        (dict(policy=dict(type='ConfidencePolicy', thresholds=2)), 'thresholds=2.0'),
        (dict(num_exits=4), 'ConfidencePolicy: 3 temperatures'),
        (dict(num_exits='3'), r"num_exits and num_classes are \('3', 10\)"),
        (dict(num_classes=1.5), r'num_exits and num_classes are \(3, 1.5\)'),
        (dict(num_classes=0), r'num_exits and num_classes are \(3, 0\)'),
        (dict(num_exits=True), r'num_exits and num_classes are \(True, 10\)'),
    ],
)
def test_content_that_cannot_be(change, message):
    with pytest.raises(ConfigError, match=f'^the file.*{message}'):
        parse_policy({**CONTENT, **change}, 'the file')


@pytest.mark.parametrize(
    'data, message',
    [
        (dict(format=FORMAT, num_exits=3), r"lacks \['num_classes', 'policy'\]"),
        (dict(CONTENT, format=None), 'is not a policy file'),
        ([1], 'is not a policy file'),
        (None, 'is not a policy file'),
    ],
)
def test_no_policy_file(data, message):
    with pytest.raises(ConfigError, match=f'the file {message}'):
        parse_policy(data, 'the file')


@pytest.mark.parametrize(
    'data', [b'', json.dumps(CONTENT).encode()[:-3], b'\x80\x04\xff', b'[' * 10**5, b'9' * 5000]
)
def test_missing_and_broken_files(tmp_path, data):
    path = tmp_path / 'policy.json'
    for missing in (path, tmp_path):
        with pytest.raises(ConfigError, match=f'"{missing}" does not exist'):
            read_policy(missing)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=f'"{path}" is truncated or not JSON'):
        read_policy(path)
