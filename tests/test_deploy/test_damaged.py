"""A folder that is not as it was exported is one clear error."""

import hashlib
import json
import shutil

import onnx
import pytest
from exported import edit_manifest, exported  # noqa: F401

from mmrazor_byot.deploy.runtime import DeployedNetwork
from mmrazor_byot.errors import DeployError


@pytest.fixture
def folder(exported, tmp_path):  # noqa: F811
    """A copy to damage."""
    return shutil.copytree(exported, tmp_path / 'copy')


def refused(folder, reason, precision='fp32'):
    with pytest.raises(DeployError, match=reason) as caught:
        DeployedNetwork(folder, precision)
    assert '\n' not in str(caught.value)


def test_no_folder(tmp_path):
    refused(tmp_path, 'is no exported network: it has no manifest.json')


def test_a_stage_is_missing(folder):
    (folder / 'stage_2.onnx').unlink()
    refused(folder, 'lacks stage_2.onnx')
    DeployedNetwork(folder, 'int8')  # needs none of it


def test_one_byte_is_another(folder):
    path = folder / 'trunk_3.int8.onnx'
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused(folder, r'trunk_3.int8.onnx" is not the file that was exported', 'int8')
    DeployedNetwork(folder)


def test_a_file_the_manifest_does_not_know(folder):
    files = json.loads((folder / 'manifest.json').read_text())['files']
    del files['fp32']['exit_2.onnx']
    edit_manifest(folder, files=files)
    refused(folder, r'exit_2.onnx" is not the file that was exported')


def test_a_truncated_manifest(folder):
    path = folder / 'manifest.json'
    path.write_text(path.read_text()[:200])
    refused(folder, 'manifest.json" is truncated or no JSON')


def test_another_format_version(folder):
    edit_manifest(folder, version=2)
    refused(folder, 'has format version 2, this mmrazor_byot reads 1')


@pytest.mark.parametrize(
    'changes, reason',
    [
        (dict(format='something'), 'no manifest of an exported network'),
        (dict(more=1), 'is damaged .*more'),
        (dict(num_exits=3), 'is damaged .4 stages for 3 exits'),
        (dict(classes=['a']), 'is damaged .1 classes named, 10 counted'),
        (dict(input_size=[32]), 'height and width'),
        (dict(opset='18'), 'is damaged .*opset'),
        (dict(stages=[{}] * 4), "is damaged .'inputs'"),
        (
            dict(stages=[dict(inputs=['image'], outputs=[])] * 4),
            'does not take what the one before it leaves',
        ),
    ],
)
def test_a_manifest_that_cannot_be(folder, changes, reason):
    edit_manifest(folder, **changes)
    refused(folder, reason)


def test_no_int8(folder):
    files = json.loads((folder / 'manifest.json').read_text())['files']
    edit_manifest(folder, files=dict(fp32=files['fp32']))
    refused(folder, 'has no int8 files, only fp32; .* with --int8', 'int8')


def test_an_opset_that_onnxruntime_cannot_read(folder):
    path = folder / 'exit_1.onnx'
    model = onnx.load(path)
    model.opset_import[0].version = 999
    onnx.save(model, path)
    files = json.loads((folder / 'manifest.json').read_text())['files']
    files['fp32']['exit_1.onnx'] = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_manifest(folder, files=files, opset=999)
    refused(folder, 'cannot load .*exit_1.onnx" of opset 999')


def test_a_policy_for_another_network(folder):
    path = folder / 'manifest.json'
    policy = json.loads(path.read_text())['policy']
    edit_manifest(folder, policy={**policy, 'num_classes': 7})
    network = DeployedNetwork(folder)
    with pytest.raises(ValueError, match='calibrated for 4 exits and 7'):
        _ = network.policy
