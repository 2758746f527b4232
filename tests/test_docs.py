"""The commands and snippets of the documents work as they are written."""

import re

import pytest
from mmengine.config import Config
from run import RECIPES, ROOT, script, succeeded

from mmrazor_byot.early_exit import POLICY_TYPES, read_policy
from mmrazor_byot.registry import MODELS

PAGES = [
    ROOT / 'README.md',
    *(ROOT / 'docs').glob('*.md'),
    *(ROOT / 'configs').rglob('README.md'),
    *(ROOT / 'projects').glob('*/README.md'),
    ROOT / 'benchmarks/README.md',
    ROOT / 'examples/README.md',
    ROOT / 'examples/deploy/README.md',
]
README = PAGES[0].read_text()
SNIPPETS = [
    snippet
    for text in (README, (ROOT / 'docs/usage.md').read_text())
    for snippet in re.findall(r'```python\n(.*?)```', text, re.S)
    if 'import ' not in snippet  # a config
]


def test_the_two_commands():
    commands = re.findall(r'^    (pip install .*)$', README, re.M)
    assert commands == [
        'pip install -c requirements/constraints.txt -e . && sh tools/dist_train.sh '
        'configs/distill/mmcls/byot/byot_resnet18_2xb64_digits.py 2',
        'pip install -c requirements/constraints.txt -e ".[tests]" && python -m pytest -n 2 --dist '
        'worksteal',
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
        r'(?:tools|configs|docs|benchmarks|projects|requirements|mmrazor_byot)/'
        r'[\w./-]+\.(?:py|sh|md|txt|yml|json)',
        text,
    )
    missing += [s for s in named if not (ROOT / s).exists()]
    assert not missing


def test_inference_page_runs(tmp_path):
    text = (ROOT / 'docs/inference.md').read_text()
    for part in ('configs', 'tools'):
        (tmp_path / part).symlink_to(ROOT / part)
    program = tmp_path / 'page.py'
    program.write_text(''.join(re.findall(r'```python\n(.*?)```', text, re.S)))
    succeeded(script(program, cwd=tmp_path, fresh=True))
    commands = re.findall(r'^    python (tools/.*)$', text, re.M)
    for command in commands:
        name, *words = command.split()
        said = succeeded(script(ROOT / name, *words, cwd=tmp_path, fresh=True))
    printed = re.search(r'prints, for each image,\n\n((?:    .*\n)+)', text)[1]
    times = re.compile(r'[\d.]+ ms')  # the page shows one machine's
    assert times.sub('', re.sub('^    ', '', printed, flags=re.M)) in (times.sub('', said))
    assert (tmp_path / 'results.json').is_file()


def test_early_exit_page(tmp_path):
    text = (ROOT / 'docs/early_exit.md').read_text()
    (program,) = [
        snippet
        for snippet in re.findall(r'```python\n(.*?)```', text, re.S)
        if 'run_policy' in snippet
    ]
    (tmp_path / 'page.py').write_text(program)
    said = succeeded(script(tmp_path / 'page.py', fresh=True))
    assert re.search(r'^tensor\(\[[1-4](, [1-4]){7}\]\)$', said, re.M)
    path = tmp_path / 'policy.json'
    path.write_text(re.search(r'```json\n(.*?)```', text, re.S)[1])
    assert read_policy(path).policy.patience == 2
    rows = set(re.findall(r'^\| `(\w+Policy)`', text, re.M))
    assert rows == set(POLICY_TYPES)
