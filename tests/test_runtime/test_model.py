"""An exported file, run without torch: answers, thresholds, and what it refuses."""

import hashlib
import json

import numpy as np
import onnx
import pytest
import torch

from mmrazor_byot.early_exit import ConfidencePolicy, PatiencePolicy
from mmrazor_byot.errors import ConfigError, DatasetError, DeployError
from mmrazor_byot.export.graph import early_exit_graph
from mmrazor_byot.export.write_export import write_model
from mmrazor_byot.runtime import EarlyExitModel
from mmrazor_byot.runtime.metadata import Metadata, append_sha256


@pytest.fixture(scope='module')
def model(exported):
    return EarlyExitModel(exported, threads=1)


@pytest.fixture(scope='module')
def probabilities(digits_logits):
    """Softmax of torch's logits, (599, 4, 10)."""
    return digits_logits.double().softmax(-1).numpy()


def test_it_answers_and_stops_as_torch(model, digits_images, probabilities):
    images = digits_images[0]
    confidence = probabilities.max(-1)
    assert np.abs(confidence - 0.95).min() > 1e-6
    exits = 1 + (confidence[:, :3] < 0.95).cumprod(1).sum(1)
    assert set(exits) == {1, 2, 3, 4}
    expected = probabilities[np.arange(len(images)), exits - 1]
    found = model(images)
    np.testing.assert_array_equal(found.exits, exits)
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)
    assert found.scores.dtype == np.float32 and found.exit_scores is None
    for number in (1, 2, 3, 4):
        i = int(np.flatnonzero(exits == number)[0])
        alone = model(images[i : i + 1])
        assert alone.exits.tolist() == [number]
        np.testing.assert_allclose(alone.scores[0], expected[i], atol=1e-5)


def test_thresholds_of_the_caller(model, digits_images, probabilities):
    images = digits_images[0][:40]
    for number in (1, 2, 3, 4):
        found = model(images, model.stop_at(number))
        assert found.exits.tolist() == [number] * 40
        np.testing.assert_allclose(found.scores, probabilities[:40, number - 1], atol=1e-5)
    assert model(images, 0.0).exits.tolist() == [1] * 40
    assert model(images, [2, 0, 2]).exits.tolist() == [2] * 40


def test_every_door_gives_the_same_scores(model, tinted, doors):
    image, scores, of_bgr = tinted
    for inputs, order in doors:
        (result,) = model.classify(inputs, model.stop_at(2), channel_order=order)
        np.testing.assert_allclose(result['pred_scores'], scores[1], atol=1e-5)
    (result,) = model.classify(image, [2, 0, 0], channel_order='BGR')
    np.testing.assert_allclose(result['pred_scores'], of_bgr[1], atol=1e-5)
    for bad, order, error, reason in (
        ([doors[0][0], image], None, ConfigError, 'image 1 is a color array'),
        ([image, b'x'], 'RGB', DatasetError, r'image 1 \(1 bytes\) is not an image'),
        ([], None, DatasetError, 'no images'),
    ):
        with pytest.raises(error, match=reason):
            model.classify(bad, channel_order=order)
    with pytest.raises(DatasetError, match='image 0 is too large: 32 x 32'):
        model.classify(doors[3][0], max_pixels=1023)
    for limit in (0, 'x'):
        with pytest.raises(ConfigError, match=f'max_pixels={limit!r}: give a positive'):
            model.classify(image, channel_order='RGB', max_pixels=limit)


def test_results_are_those_of_the_inferencer(exported, digits_images, probabilities):
    images = list(digits_images[0][:40])
    results = EarlyExitModel(exported).classify(images, channel_order='RGB')
    exits = 1 + (probabilities[:40, :3].max(-1) < 0.95).cumprod(1).sum(1)
    assert [result['exit'] for result in results] == exits.tolist() and len(set(exits)) > 1
    for result, number, row in zip(results, exits, probabilities):
        order = row[number - 1].argsort()[::-1].tolist()
        (read,) = result['exits']
        assert read['exit'] == number and result['num_exits'] == 4
        assert [top['label'] for top in read['top']] == order[:3]
        assert result['pred_label'] == order[0] and result['pred_class'] == str(order[0])
        assert result['pred_score'] == pytest.approx(row[number - 1].max(), abs=1e-5)
        assert result['ensemble'] is False and 0 < result['time_ms'] < 10000
        assert '<img' in result._repr_html_()


@pytest.mark.parametrize(
    'thresholds, named',
    [
        ([0.5, 0.5], r'\[0.5, 0.5\]'),
        ([0.5, float('nan'), 0.5], 'nan'),
        ('high', 'high'),
        ([[0.5, 0.5, 0.5]], r'\[\[0.5'),
    ],
)
def test_thresholds_that_cannot_be(model, digits_images, thresholds, named):
    with pytest.raises(ConfigError, match=named):
        model(digits_images[0][:2], thresholds)


@pytest.mark.parametrize(
    'images, named',
    [
        (np.zeros((2, 28, 32, 3), np.uint8), r'uint8 \(2, 28, 32, 3\)'),
        (np.zeros((0, 32, 32, 3), np.uint8), r'\(0, 32, 32, 3\)'),
        (np.zeros((1, 32, 32, 3), np.float32), 'float32'),
        (torch.zeros(1, 32, 32, 3), 'Tensor'),
    ],
)
def test_images_that_cannot_be(model, images, named):
    with pytest.raises(ConfigError, match=named):
        model(images)


@pytest.mark.parametrize('number', [0, 5, -1])
def test_exits_and_threads_that_cannot_be(exported, model, number):
    with pytest.raises(ConfigError, match=rf'exit {number}: .*1, 2, 3, 4'):
        model.stop_at(number)
    threads = 10000 if number == 5 else number
    with pytest.raises(ConfigError, match=f'threads={threads}'):
        EarlyExitModel(exported, threads=threads)


def test_what_the_file_says(exported, model, digits_images, probabilities):
    props = {x.key: x.value for x in onnx.load(exported).metadata_props}
    about = model.metadata
    assert list(props)[-1] == 'sha256'
    whole = exported.read_bytes()
    assert props.pop('sha256') == hashlib.sha256(whole[:-76]).hexdigest()
    assert props == about.props() and props['format_version'] == '1'
    assert about.recipe == 'byot_resnet18_2xb64_digits' and about.precision == 'fp32'
    assert about.classes == list('0123456789') and about.input_size == [32, 32]
    assert about.thresholds == [0.95] * 3 and json.loads(props['thresholds']) == [0.95] * 3
    assert about.checkpoint_sha256.startswith(about.checkpoint.split('-')[-1][:8])
    # Of the cut networks, and the heads before: three convolutions with their batch norms (a norm
    # is two operations a number), pooling, and the classifier.
    head_1 = (64 * 1024 + 2 * 8192) + (64 * 64 * 16 + 2 * 128) + (512 * 16 + 2 * 1024) + 1024 + 640
    head_2 = (256 * 256 + 2 * 4096) + (256 * 16 * 16 + 2 * 256) + (1024 * 16 + 2 * 1024) + 1664
    macs = [2822016, 4960384 + head_1, 6989952 + head_1 + head_2, 9418496]
    assert [row['macs'] for row in about.exits] == macs
    answers = probabilities.argmax(-1) == digits_images[1][:, None]
    assert [row['top1'] for row in about.exits] == pytest.approx(100 * answers.mean(0), abs=1e-3)


@pytest.fixture
def file(digits_stages, model, tmp_path):
    """Writes a file of the digits network with another policy, or other metadata."""

    def write(chosen=None, **changes):
        about = type(model.metadata)(**{**vars(model.metadata), **changes})
        graph = early_exit_graph(digits_stages, chosen or ConfidencePolicy(0.9), chosen is None)
        write_model(tmp_path / 'a.onnx', graph, about)
        return tmp_path / 'a.onnx'

    return write


def test_all_scores(file, digits_images, probabilities):
    found = EarlyExitModel(file())(digits_images[0][:50])
    reached = np.arange(1, 5) <= found.exits[:, None]
    np.testing.assert_array_equal(~np.isnan(found.exit_scores).any(-1), reached)
    np.testing.assert_allclose(found.exit_scores[reached], probabilities[:50][reached], atol=1e-5)
    (last,) = EarlyExitModel(file()).classify(digits_images[0][0], 2, 'RGB')
    assert [row['exit'] for row in last['exits']] == [1, 2, 3, 4]
    tops = [row['top'][0]['label'] for row in last['exits']]
    assert tops == probabilities[0].argmax(-1).tolist()


def test_patience_takes_no_thresholds(file, digits_images):
    policy = PatiencePolicy(2)
    model = EarlyExitModel(file(policy, thresholds=[], policy=policy.config()))
    assert set(model(digits_images[0]).exits) == {2, 3, 4}
    for call in (lambda: model(digits_images[0], 0.5), lambda: model.stop_at(2)):
        with pytest.raises(ConfigError, match='PatiencePolicy'):
            call()


def refused(path, reason):
    with pytest.raises(DeployError, match=reason) as caught:
        EarlyExitModel(path)
    assert path.name in str(caught.value) and '\n' not in str(caught.value)


def test_files_that_are_not_ours(file, tmp_path, digits_stages):
    path = file()
    whole = path.read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(path, f'{size} bytes. is truncated')
    onnx.save(digits_stages[0].model, path)
    refused(path, 'not written by')
    refused(tmp_path / 'none.onnx', 'No such file')
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old/manifest.json').touch()
    refused(tmp_path / 'old', 'an export of mmrazor_byot 0.1')


@pytest.mark.parametrize(
    'name, text',
    [('exits', None), ('exits', '[7]'), ('exits', '[{"exit": 1}]'), ('num_exits', '"4"')]
    + [('classes', '[['), ('input_size', '[32, null]'), ('policy_top1', '{}')],
)
def test_metadata_of_another_type(exported, name, text):
    props = {**EarlyExitModel(exported).metadata.props(), name: text}
    with pytest.raises(DeployError, match='x.onnx": its metadata .*export it again'):
        Metadata.from_props({k: v for k, v in props.items() if v is not None}, 'x.onnx')


@pytest.mark.parametrize('place', [0.1, 0.9, 0.999])
def test_a_changed_file_is_refused(file, place):
    path = file()
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)
    refused(path, 'changed after its export')


def test_a_newer_format_and_a_newer_opset(file):
    path = file()
    data = path.read_bytes()[:-76].replace(b'format_version\x12\x011', b'format_version\x12\x012')
    path.write_bytes(append_sha256(data))
    refused(path, 'format version 2, .* reads 1')
    model = onnx.load_from_string(data)
    model.opset_import[0].version = 999
    path.write_bytes(append_sha256(model.SerializeToString()))
    refused(path, 'cannot load')
