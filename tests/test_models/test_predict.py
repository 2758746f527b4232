import pytest
import torch

from mmrazor_byot.errors import ConfigError


@pytest.mark.parametrize(
    'predict_with, pick',
    [
        ('deepest', lambda s: s[:, 3]),
        ('ensemble', lambda s: (s[:, 0] + s[:, 1] + s[:, 2] + s[:, 3]) / 4),
        (1, lambda s: s[:, 0]),
        (3, lambda s: s[:, 2]),
    ],
)
def test_the_answer(build_byot, batch, predict_with, pick):
    model = build_byot(predict_with=predict_with)
    model.eval()
    images, samples = batch()
    with torch.no_grad():
        scores = torch.stack([z.softmax(1) for z in model(images)], 1)
        answers = model(images, samples, mode='predict')
    expected = pick(scores)
    for i, answer in enumerate(answers):
        torch.testing.assert_close(answer.exit_scores, scores[i])
        torch.testing.assert_close(answer.pred_score, expected[i])
        assert answer.pred_label.tolist() == [expected[i].argmax().item()]
        assert answer.gt_label.tolist() == [i % 5]


def test_predict_without_samples(build_byot, batch):
    model = build_byot()
    model.eval()
    with torch.no_grad():
        answers = model(batch(3)[0], mode='predict')
    assert len(answers) == 3
    assert answers[0].exit_scores.sum(dim=1).tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize('predict_with', ['best', 0, 5, -1])
def test_unknown_answer(build_byot, predict_with):
    with pytest.raises(ConfigError, match='deepest.*ensemble.*1, 2, 3, 4'):
        build_byot(predict_with=predict_with)


def test_unknown_mode(build_byot, batch):
    with pytest.raises(RuntimeError, match='Invalid mode "train"'):
        build_byot()(batch()[0], mode='train')
