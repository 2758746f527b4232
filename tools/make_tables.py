"""Write docs/model_table.md: params and FLOPs of each exit of each BYOT recipe."""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmrazor_byot.datasets import image_settings
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation import exit_complexity
from mmrazor_byot.files import check_writable, write_text
from mmrazor_byot.launch import run_tool
from mmrazor_byot.registry import MODELS
from mmrazor_byot.table import format_table

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / 'configs/distill/mmcls/byot'
TABLE = ROOT / 'docs/model_table.md'
EXITS = 4

#: The paper's top-1 in percent: plain network, exits 1/4 to 4/4, ensemble. The numbers marked
#: UNCHECKED could not be compared with a source.
UNCHECKED = ' *'
PAPER = {
    ('CIFAR100', 'vgg19bn'): '64.47 63.59 67.04 68.03 67.73 68.54',
    ('CIFAR100', 'resnet18'): '77.09 67.85 74.57 78.23 78.64 79.67',
    ('CIFAR100', 'resnet50'): '77.68 68.23 74.21 75.23 80.56 81.04',
    ('CIFAR100', 'resnet101'): '77.98 69.45 77.29 81.17 81.23 82.03',
    ('CIFAR100', 'resnet152'): '79.21 68.84 78.72 81.43 81.61 82.29',
    ('CIFAR100', 'resnext29-2'): '81.29 71.15 79.00 81.48 81.51 81.90 *',
    ('CIFAR100', 'wrn20-8'): '79.76 68.85 78.15 80.98 80.92 81.38 *',
    ('CIFAR100', 'wrn44-8'): '79.93 72.54 81.15 81.96 82.09 82.61',
    ('CIFAR100', 'wrn28-12'): '80.07 71.21 80.86 81.58 81.59 82.09 *',
    ('CIFAR100', 'pyramidnet101-240'): '81.12 69.23 78.15 80.98 82.30 83.51',
    ('ImageNet', 'vgg19bn'): '70.35 – – – 72.45 – *',
    ('ImageNet', 'resnet18'): '68.12 – – – 69.84 – *',
    ('ImageNet', 'resnet50'): '73.56 – – – 75.24 – *',
}

HEAD = """# Cost of each exit, and the accuracies in the paper

Written by `python tools/make_tables.py`. One multiply-add counts as one FLOP,
including batch norm and pooling; the headings give the image size. *Exit i*
is the network cut after section i, with its exit head. The deepest exit is
the plain network at no additional cost. The *ensemble* is all exits together.

The accuracies are **the paper's**, top-1 in percent. None is ours: our
measurements are in [the recipes' README](../configs/distill/mmcls/byot/README.md).
Those marked * could not be checked against a source. Networks of three stages
have three exits here; the paper's table gives four for them.
"""  # noqa: E501
TITLES = dict(
    CIFAR100='CIFAR-100, 32 x 32', ImageNet='ImageNet, 224 x 224', other='Other data, 32 x 32'
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--check',
        nargs='+',
        metavar='NAME',
        help='write nothing; count these recipes again and fail if the table differs',
    )
    parser.add_argument('--table', type=Path, default=TABLE, help='the file; %(default)s')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    init_default_scope('mmpretrain')
    if args.check:
        lines = args.table.read_text(encoding='utf-8').splitlines()
        table = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
        for name in args.check:
            rows = recipe_rows(name, Config.fromfile(RECIPES / f'{name}.py'))
            if not any(table[i : i + len(rows)] == rows for i in range(len(table))):
                raise ConfigError(
                    f'{args.table} is out of date for {name}; run tools/make_tables.py'
                )
        print(f'{args.table} is right for {", ".join(args.check)}')
        return
    check_writable(args.table)
    write_text(args.table, whole_table())
    print(f'wrote {args.table}')


def whole_table() -> str:
    """The text of docs/model_table.md."""
    groups: Dict[str, Dict[str, Config]] = {title: {} for title in TITLES}
    for path in RECIPES.glob('byot*.py'):
        cfg = Config.fromfile(path)
        data = data_of(cfg)
        groups[data if data in TITLES else 'other'][path.stem] = cfg
    parts = [HEAD]
    for title, recipes in groups.items():
        exits = [f'exit {i + 1}' for i in range(EXITS)]
        rows = [['recipe', '', 'plain', *exits, 'ensemble']]
        for name in sorted(recipes, key=paper_order):
            rows += recipe_rows(name, recipes[name])
            print(name, flush=True)
        parts.append(f'## {TITLES[title]}\n\n{format_table(rows, markdown=True)}\n')
    return '\n'.join(parts)


def recipe_rows(name: str, cfg: Config) -> List[List[str]]:
    """Params and FLOPs of a recipe, and the accuracies if the paper has any."""
    model = MODELS.build(cfg.model)
    costs = exit_complexity(model, model.input_size)
    link = f'[{name}](../{RECIPES.relative_to(ROOT)}/{name}.py)'
    rows = [
        [link, 'params', *cells(costs, 'params')],
        ['', 'FLOPs', *cells(costs, 'flops')],
    ]
    accuracies = paper_row(name, data_of(cfg))
    if accuracies:
        *numbers, mark = accuracies
        rows.append(['', f'paper{mark}, top-1 (%)', *numbers])
    return rows


def data_of(cfg: Config) -> str:
    """Type of the data set that loads the images."""
    return image_settings(cfg.train_dataloader.dataset).type.split('.')[-1]


def cells(costs: Sequence[dict], key: str) -> List[str]:
    """The plain network, each exit and the ensemble; – for a missing exit."""
    *exits, ensemble = [f'{cost[key]:,}' for cost in costs]
    missing = ['–'] * (EXITS - len(exits))
    return [exits[-1], *exits, *missing, ensemble]


def paper_row(name: str, dataset: str) -> Optional[List[str]]:
    """The paper's six accuracies and their mark."""
    text = PAPER.get((dataset, network_of(name)))
    if text is None or name.endswith('_strong'):  # not the paper's recipe
        return None
    checked = text.removesuffix(UNCHECKED)
    return [*checked.split(), '' if checked == text else UNCHECKED]


def network_of(name: str) -> str:
    """``resnet18`` for ``byot_logits_resnet18_...`` and for ``byot_resnet18-fast_...``."""
    first = ('byot', 'logits', 'mmrazor')
    network = next(part for part in name.split('_') if part not in first)
    return network.removesuffix('-fast')


def paper_order(name: str) -> tuple:
    """Sort key: the networks in the paper's order, then the others."""
    networks = [network for _, network in PAPER]
    network = network_of(name)
    known = network in networks
    return (networks.index(network) if known else len(networks), name)


if __name__ == '__main__':
    run_tool(main)
