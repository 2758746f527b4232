import json

from run import DIGITS, RECIPES, failed, printed_briefly, succeeded, tool


def test_resnet18_as_the_paper_counts_it(tmp_path):
    out = tmp_path / 'flops.json'
    recipe = RECIPES / 'byot_logits_resnet18_cifar100_8xb16_in1k.py'
    text = printed_briefly(succeeded(tool('get_flops.py', recipe, '--out', out)))
    rows = json.loads(out.read_text())
    deepest = rows[3]
    assert deepest['exit'] == '4/4' and deepest['params'] == 11220132
    assert f'{deepest["flops"] / 1e9:.2f}' == '0.56'
    assert '| params (M) | 0.501 |  1.07 |  2.99 | 11.22 |' in text
    flops = [row['flops'] for row in rows]
    assert flops == sorted(flops)


def test_other_image_sizes():
    recipe = RECIPES / 'plain_resnet18_8xb16_tin32.py'
    text = succeeded(tool('get_flops.py', recipe, '--shape', '64'))
    assert 'images of (3, 64, 64)' in text
    assert '| FLOPs (G)  |  2.23 |' in text  # four times 0.557


def test_bad_shape():
    done = tool('get_flops.py', DIGITS, '--shape', '1', '2', '3', '4')
    assert 'give S, (H, W) or (C, H, W)' in failed(done)
