"""The inferencer, on the digits network that ships with the project."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from run import DIGITS, RECIPES

from mmrazor_byot.apis import ByotInferencer
from mmrazor_byot.apis.model import class_names, get_model
from mmrazor_byot.early_exit import ConfidencePolicy, FixedExitPolicy, PolicyFile, policy_text
from mmrazor_byot.errors import ConfigError, DatasetError, ZooError
from mmrazor_byot.registry import MODELS
from mmrazor_byot.visualization.draw import draw_exits

NAME = 'byot_resnet18_2xb64_digits'
WEIGHTS = next((RECIPES / 'weights').glob(f'{NAME}-*.pth'))
COUNT = 24


@pytest.fixture(scope='module')
def loaded():
    """One network for all tests: it takes seconds to trace."""
    return ByotInferencer(NAME, device='cpu', show_progress=False)


@pytest.fixture
def inferencer(loaded):
    loaded.policy = None
    yield loaded
    loaded.policy = None


@pytest.fixture(scope='module')
def digits(loaded):
    """Test images (B, H, W, 3), and the exit scores (B, C, K) that testing with the recipe gives
    them.
    """
    cfg = Config.fromfile(DIGITS)
    batch = next(iter(Runner.build_dataloader(cfg.test_dataloader, seed=0)))
    images = np.stack([x.permute(1, 2, 0).numpy() for x in batch['inputs']])
    with torch.no_grad():
        samples = loaded.model.test_step(batch)
    return images[:COUNT], torch.stack([s.exit_scores for s in samples])[:COUNT]


def between(values):
    """A threshold in the middle, at which none of the values lies."""
    low, high = values.sort().values[len(values) // 2 - 1 :][:2].tolist()
    assert high - low > 1e-5
    return (low + high) / 2


@pytest.fixture
def mixed(digits):
    """A policy by which some leave at exit 1, some at 2, some later."""
    confidence = digits[1].amax(-1)
    first = between(confidence[:, 0])
    second = between(confidence[confidence[:, 0] < first, 1])
    return ConfidencePolicy([first, second, None])


def expected_exits(policy, scores):
    """The policy, written again."""
    return [
        next(
            (
                number
                for number, threshold in enumerate(policy.thresholds, start=1)
                if threshold is not None and image[number - 1].max() >= threshold
            ),
            4,
        )
        for image in scores
    ]


def test_files_score_as_in_testing(inferencer, digits, tmp_path):
    images, scores = digits
    for i, image in enumerate(images[:6]):
        cv2.imwrite(str(tmp_path / f'{i}.png'), image)
    inferencer.policy = FixedExitPolicy(ensemble=True)  # reads all exits
    for batch_size in (1, 4):
        samples = inferencer(str(tmp_path), return_datasamples=True, batch_size=batch_size)
        found = torch.stack([s.exit_scores for s in samples])
        torch.testing.assert_close(found, scores[:6], atol=1e-5, rtol=0)
        torch.testing.assert_close(
            torch.stack([s.pred_score for s in samples]), scores[:6].mean(1), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize('batch_size', [1, 7])
def test_mixed_exits_in_the_order_of_the_inputs(inferencer, digits, mixed, batch_size):
    images, scores = digits
    inferencer.policy = mixed
    results = inferencer(list(images), batch_size=batch_size, channel_order='RGB')
    exits = expected_exits(mixed, scores)
    assert [r['exit'] for r in results] == exits
    assert set(exits) == {1, 2, 4}
    for result, exit_number, image in zip(results, exits, scores):
        answer = image[exit_number - 1].numpy()
        np.testing.assert_allclose(result['pred_scores'], answer, atol=1e-5)
        assert result['pred_label'] == answer.argmax()
        # Exit 3 is passed unread.
        read = [n for n in (1, 2, 4) if n <= exit_number]
        assert [row['exit'] for row in result['exits']] == read


def test_what_a_result_holds(inferencer, digits):
    images, scores = digits
    inferencer.policy = FixedExitPolicy(2, ensemble=True)
    (result,) = inferencer(images[0], topk=2, channel_order='RGB')
    mean = scores[0, :2].mean(0)
    label = int(mean.argmax())
    assert result['pred_label'] == label
    assert result['pred_class'] == str(label)
    assert result['pred_score'] == pytest.approx(mean[label].item(), abs=1e-5)
    assert (result['exit'], result['num_exits']) == (2, 4)
    assert result['ensemble'] is True
    for exit_scores, row in zip(scores[0], result['exits']):
        labels = exit_scores.argsort(descending=True)[:2].tolist()
        assert [(top['label'], top['class']) for top in row['top']] == [(n, str(n)) for n in labels]
        found = [top['score'] for top in row['top']]
        assert found == pytest.approx(exit_scores[labels].tolist(), abs=1e-5)
    assert [row['exit'] for row in result['exits']] == [1, 2]


def test_every_door_gives_the_same_scores(inferencer, tinted, doors):
    image, scores, of_bgr = tinted
    inferencer.policy = FixedExitPolicy(2)
    for inputs, order in doors:
        (result,) = inferencer(inputs, channel_order=order)
        np.testing.assert_allclose(result['pred_scores'], scores[1], atol=1e-5)
    (result,) = inferencer(image, channel_order='BGR')
    np.testing.assert_allclose(result['pred_scores'], of_bgr[1], atol=1e-5)
    mixed = [inputs for inputs, order in doors if order != 'BGR']
    results = inferencer(mixed, batch_size=3, channel_order='RGB')
    assert len(results) == 7
    for result in results:
        np.testing.assert_allclose(result['pred_scores'], scores[1], atol=1e-5)
        assert result._repr_html_().count('<img') == 1
    label = scores[1].argmax()
    shown = rf'{label} \({100 * scores[1, label]:.1f} %\), left at exit 2/4, [\d.]+ ms'
    assert re.fullmatch(shown, str(results[0])) and len(repr(results)) < 7 * 50
    with pytest.raises(ConfigError, match='image 1 is a color array: say its order'):
        inferencer([mixed[0], image])
    bad = inferencer([mixed[0], b'x'], skip_bad=True)
    assert bad[1] is None and inferencer.skipped[1].startswith('image 1 (1 bytes) is not an')


def count_runs(network):
    """Samples that each trunk and head has seen, by hooks."""
    seen = {}

    def count(name):
        def hook(module, inputs, output):
            seen[name] = seen.get(name, 0) + len(inputs[0])

        return hook

    parts = [(f'trunk {i}', m) for i, m in enumerate(network.trunks, 1)]
    parts += [(f'head {i}', m) for i, m in enumerate(network.heads, 1)]
    return seen, [m.register_forward_hook(count(name)) for name, m in parts]


def test_an_easy_image_runs_one_section(inferencer, digits, mixed):
    images, scores = digits
    exits = expected_exits(mixed, scores)
    inferencer.policy = mixed
    easy, hard = images[exits.index(1)], images[exits.index(4)]
    settings = dict(channel_order='BGR')
    inferencer([easy, hard], batch_size=2, **settings)  # the warm-up runs everything
    inferencer(easy, **settings)
    seen, hooks = count_runs(inferencer.network)
    try:
        inferencer(easy, **settings)
        assert seen == {'trunk 1': 1, 'head 1': 1}
        inferencer([hard, easy], batch_size=2, **settings)
        assert seen == {
            'trunk 1': 3,
            'head 1': 3,
            'trunk 2': 1,
            'head 2': 1,
            'trunk 3': 1,
            'head 4': 1,
        }
    finally:
        for hook in hooks:
            hook.remove()


def test_the_time_of_a_batch_is_shared(inferencer, digits, monkeypatch):
    clock = iter([10.0, 10.5, 20.0, 20.1])
    monkeypatch.setattr('mmrazor_byot.apis.inferencer.time.perf_counter', lambda: next(clock))
    results = inferencer(list(digits[0][:7]), batch_size=5, channel_order='RGB')
    times = [r['time_ms'] for r in results]
    assert times == pytest.approx([100] * 5 + [50] * 2)


def test_policies_in_all_forms(inferencer, digits, mixed, tmp_path):
    images, scores = digits
    path = tmp_path / 'policy.json'
    path.write_text(policy_text(PolicyFile(mixed, 4, 10)))
    exits = expected_exits(mixed, scores)
    for policy in (path, str(path), mixed.config(), mixed):
        inferencer.policy = policy
        results = inferencer(list(images), batch_size=24, channel_order='RGB')
        found = [r['exit'] for r in results]
        assert found == exits


def test_policies_that_do_not_fit(inferencer, tmp_path):
    path = tmp_path / 'policy.json'
    path.write_text(policy_text(PolicyFile(FixedExitPolicy(2), 4, 100)))
    before = inferencer.policy
    for policy, message in (
        (path, '100 classes, .* 4 .* 10'),
        ('gone.json', '"gone.json" does not exist'),
        (FixedExitPolicy(5), 'exit_number=5'),
        (dict(type='Guess'), "'Guess'"),
        (3, 'not 3'),
    ):
        with pytest.raises(ConfigError, match=message):
            inferencer.policy = policy
    assert inferencer.policy is before


@pytest.mark.parametrize(
    'answer, policy',
    [
        ('deepest', FixedExitPolicy()),
        ('ensemble', FixedExitPolicy(ensemble=True)),
        (2, FixedExitPolicy(2)),
    ],
)
def test_by_default_it_answers_as_predict_does(inferencer, monkeypatch, answer, policy):
    monkeypatch.setattr(inferencer.model, 'predict_with', answer)
    inferencer.policy = None
    assert inferencer.policy.config() == policy.config()


def test_network_and_weights_in_all_forms(inferencer, digits):
    expected = inferencer.model.state_dict()
    forms = [
        dict(model=str(DIGITS)),
        dict(model=Config.fromfile(DIGITS), pretrained=WEIGHTS),
        dict(model=DIGITS, pretrained=f'zoo://{NAME}'),
    ]
    for form in forms:  # as the inferencer loads them; it would trace each
        model = get_model(**form)
        assert not model.training
        assert all(torch.equal(expected[name], value) for name, value in model.state_dict().items())
    assert inferencer.classes == list('0123456789')
    assert NAME in ByotInferencer.list_models('*digits')
    assert ByotInferencer.list_models('nothing*') == []


def test_an_untrained_network_of_another_size(build_byot, digits):
    cfg, built = Config.fromfile(DIGITS), build_byot()  # five classes, which its recipe has not
    cfg.test_dataloader.dataset.metainfo = dict(classes=list('abcdefghij'))
    assert class_names(get_model(cfg, pretrained=None)) == list('abcdefghij')
    mine = ByotInferencer(built, config=cfg, show_progress=False)
    assert mine.classes == list('01234')
    (result,) = mine(digits[0][0], channel_order='RGB')
    assert result['pred_scores'].shape == (5,)
    with pytest.raises(ConfigError, match='network has 5 classes; give a li'):
        ByotInferencer(built, classes=['a', 'b'])
    with pytest.raises(ConfigError, match='a built network has its weights'):
        ByotInferencer(built, pretrained=str(WEIGHTS))


def test_networks_that_cannot_serve(build_byot, tiny_architecture):
    no_weights = RECIPES / 'byot_resnet18_2xb64_tin32-small.py'
    no_exits = MODELS.build(tiny_architecture)
    for arguments, error, message in (
        (dict(model='byot_resnet18'), ZooError, 'byot_res'),
        (dict(model='gone.py'), ConfigError, '"gone.py" does not exist'),
        (dict(model=3), ConfigError, 'not a int'),
        (dict(model=NAME, pretrained=3), ConfigError, 'pretrained=3: give a checkpoint'),
        (dict(model=NAME, classes=3), ConfigError, 'classes=3: the network has 10'),
        (dict(model=NAME, max_pixels=0), ConfigError, 'max_pixels=0: give a positive integer'),
        (dict(model=no_weights), ConfigError, 'the zoo has no weights .*tin32-small'),
        (dict(model=build_byot()), ConfigError, 'config='),
        (dict(model=no_exits, config=DIGITS), ConfigError, 'ImageClassifier without exits'),
        (dict(model=NAME, device='gpu'), ConfigError, "device 'gpu'"),
    ):
        with pytest.raises(error, match=message):
            ByotInferencer(**arguments)


def test_images_that_cannot_be_read(inferencer, digits, tmp_path):
    good, bad = str(tmp_path / 'good.png'), str(tmp_path / 'bad.png')
    cv2.imwrite(good, digits[0][0])
    Path(bad).write_bytes(Path(good).read_bytes()[:40])
    with pytest.raises(DatasetError, match=r'bad\.png" \(40 bytes\)'):
        inferencer([good, bad], batch_size=2)
    with pytest.raises(DatasetError, match='gone.png" does not exist'):
        inferencer([good, str(tmp_path / 'gone.png')])
    wrong = [('batch_size', 0), ('batch_size', 1.5), ('batch_size', None), ('topk', 'x')]
    wrong += [('topk', 0), ('resize', 'x'), ('resize', 0), ('rescale_factor', -1), ('show_dir', 3)]
    for name, value in wrong:
        with pytest.raises(ConfigError, match=f'{name}={value!r}: give'):
            inferencer(good, **{name: value})
    with pytest.raises(ConfigError, match="unknown argument {'foo'}"):
        inferencer(good, foo=3)
    assert len(inferencer(good, topk=99)[0]['exits'][0]['top']) == 10


@pytest.mark.parametrize('batch_size', [1, 2, 8])
def test_images_that_are_skipped(inferencer, digits, tmp_path, batch_size):
    images, shown = digits[0], tmp_path / 'shown'
    files = [str(tmp_path / f'{i}.png') for i in range(6)]
    bad = {0: b'', 3: b'no image', 5: b'\x89PNG'}
    for i, file in enumerate(files):
        cv2.imwrite(file, images[i])
        if i in bad:
            Path(file).write_bytes(bad[i])
    inputs = [*files, images[6]]
    settings = dict(batch_size=batch_size, skip_bad=True, channel_order='BGR')
    results = inferencer(inputs, show_dir=str(shown), **settings)
    assert [i for i, result in enumerate(results) if result is None] == list(bad)
    good = [images[i] for i in (1, 2, 4, 6)]
    for expected, i in zip(inferencer(good, channel_order='BGR'), (1, 2, 4, 6)):
        np.testing.assert_allclose(results[i]['pred_scores'], expected['pred_scores'], atol=1e-5)
    assert sorted(p.name for p in shown.iterdir()) == ['1.png', '2.png', '4.png', '6.png']
    samples = inferencer(inputs, return_datasamples=True, **settings)
    assert [sample is None for sample in samples] == [result is None for result in results]
    assert list(inferencer.skipped) == list(bad)
    assert all(files[i] in reason for i, reason in inferencer.skipped.items())
    with pytest.raises(DatasetError, match=r'none of the 2 images .*0\.png'):
        inferencer([files[0], files[3]], **settings)
    inferencer(images[6], skip_bad=True, channel_order='BGR')
    assert inferencer.skipped == {}


def test_pictures_and_a_bar_on_the_standard_error(inferencer, digits, tmp_path, capfd, monkeypatch):
    for i, image in enumerate(digits[0][:2]):
        cv2.imwrite(str(tmp_path / f'{i}.png'), image)
    shown = []
    monkeypatch.setattr(
        'mmpretrain.visualization.UniversalVisualizer.show',
        lambda self, picture, win_name, wait_time: shown.append((picture, win_name, wait_time)),
    )
    monkeypatch.setattr(inferencer, 'show_progress', True)
    settings = dict(show=True, wait_time=2, draw_score=False, channel_order='RGB')
    inputs, folder = [str(tmp_path), digits[0][2]], tmp_path / 'a/shown'
    results = inferencer(inputs, show_dir=str(folder), **settings)
    assert sorted(p.name for p in folder.iterdir()) == ['0.png', '1.png', '2.png']
    assert capfd.readouterr().out == ''
    for (picture, name, wait_time), image, result in zip(shown, digits[0], results):
        expected = draw_exits(image[..., ::-1], result, draw_score=False)
        assert np.array_equal(picture, expected) and wait_time == 2
        assert np.array_equal(cv2.imread(str(folder / f'{name}.png'))[..., ::-1], expected)
    assert [name for _, name, _ in shown] == ['0', '1', '2']
    with pytest.raises(ConfigError, match='would replace an image'):
        inferencer(str(tmp_path), show_dir=str(tmp_path))
    with pytest.raises(ConfigError, match='cannot write'):
        inferencer(digits[0][0], show_dir=str(tmp_path / '0.png'), channel_order='RGB')
