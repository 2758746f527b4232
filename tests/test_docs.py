"""What the documents say works when it is typed as it stands."""
import re

import pytest
from mmengine.config import Config
from run import RECIPES, ROOT

from mmrazor_byot.registry import MODELS

PAGES = [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md'),
         *(ROOT / 'configs').rglob('README.md')]
README = PAGES[0].read_text()
SNIPPETS = re.findall(r'```python\n(.*?)```', README, re.S)


def test_the_two_commands():
    commands = re.findall(r'^    (pip install .*)$', README, re.M)
    assert commands == [
        'pip install -c requirements/constraints.txt -e . && '
        'sh tools/dist_train.sh '
        'configs/distill/mmcls/byot/byot_resnet18_2xb64_digits.py 2',
        'pip install -c requirements/constraints.txt -e ".[tests]" && '
        'python -m pytest'
    ]


@pytest.mark.parametrize('snippet', SNIPPETS, ids=range(len(SNIPPETS)))
def test_config_snippets_build(snippet, tmp_path):
    if '_base_' not in snippet:
        base = RECIPES / 'byot_logits_resnet18_cifar100_8xb16_in1k.py'
        snippet = f'_base_ = {str(base)!r}\n{snippet}'
    path = tmp_path / 'mine.py'
    path.write_text(snippet.replace("'./", f"'{RECIPES}/"))
    cfg = Config.fromfile(path)
    model = MODELS.build(cfg.model)
    assert model.num_exits == 4 and model.num_classes == 100


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_path_exists(page):
    text = page.read_text()
    links = re.findall(r'\]\(((?!http)[^)#]+)\)', text)
    missing = [s for s in links if not (page.parent / s).exists()]
    named = re.findall(
        r'(?:tools|configs|docs|benchmarks|requirements|mmrazor_byot)/'
        r'[\w./-]+\.(?:py|sh|md|txt|yml|json)', text)
    missing += [s for s in named if not (ROOT / s).exists()]
    assert not missing
