"""Numbers that a change of structure must not change: losses, exit scores.

    python benchmarks/golden.py --out golden.json python benchmarks/golden.py --compare golden.json

The loss terms of the first 20 iterations of the digits recipe (seed 0, one process), of one step of
every BYOT recipe on fixed images, and the exit scores of the shipped digits network on the first 64
test images.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault('TIN32', 'none.npz')  # its recipes name a file that is not read here

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

import mmrazor_byot.registry  # noqa: F401
from mmrazor_byot.apis.model import get_model
from mmrazor_byot.files import write_text
from mmrazor_byot.models.loading import build_model

RECIPES = Path(__file__).resolve().parent.parent / 'configs/distill/mmcls/byot'
DIGITS = 'byot_resnet18_2xb64_digits'
#: Recipes that are left out, as a step takes long.
LARGE = ('resnet152', 'wrn44', 'pyramidnet')


def first_iterations(count: int = 20) -> list:
    """Loss terms of the digits recipe."""
    cfg = Config.fromfile(RECIPES / f'{DIGITS}.py')
    with tempfile.TemporaryDirectory() as folder:
        cfg.merge_from_dict(dict(work_dir=folder, log_level='ERROR', train_cfg=dict(max_epochs=3)))
        runner = Runner.from_cfg(cfg)
        rows, step = [], runner.model.train_step

        def train_step(data, optim_wrapper):
            losses = step(data, optim_wrapper)
            rows.append({name: float(value.detach()) for name, value in losses.items()})
            return losses

        runner.model.train_step = train_step
        runner.train()
    return rows[:count]


def one_step(name: str) -> dict:
    """Loss terms of a recipe on two fixed images."""
    torch.manual_seed(0)
    model = build_model(Config.fromfile(RECIPES / f'{name}.py'))
    model.init_weights()
    model.train()
    size = getattr(model, 'input_size', (3, 32, 32))
    images = torch.randn(2, *size, generator=torch.Generator().manual_seed(1))
    samples = [DataSample().set_gt_label(torch.tensor([i])) for i in range(2)]
    return {n: float(v) for n, v in model.loss(images, samples).items()}


def shipped_scores() -> list:
    """Exit scores (64, 4, 10) of the shipped digits network, summed over images."""
    model = get_model(DIGITS)
    init_default_scope('mmpretrain')
    loader = Runner.build_dataloader(model._config.test_dataloader, seed=0)
    data = model.data_preprocessor(next(iter(loader)), False)
    with torch.no_grad():
        logits = torch.stack(list(model(data['inputs'], mode='tensor')), 1)
    return logits.softmax(-1).double().sum(0).tolist()


def numbers() -> dict:
    """All of them."""
    torch.set_num_threads(1)
    names = sorted(path.stem for path in RECIPES.glob('byot_*.py'))
    return dict(
        first_iterations=first_iterations(),
        one_step={n: one_step(n) for n in names if not any(word in n for word in LARGE)},
        shipped=shipped_scores(),
    )


def differences(old, new, where: str = '') -> list:
    """Where two trees of numbers differ."""
    if isinstance(old, dict):
        keys = old.keys() | new.keys()
        return [d for k in keys for d in differences(old.get(k), new.get(k), f'{where}/{k}')]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new))
        return [d for i, (a, b) in pairs for d in differences(a, b, f'{where}/{i}')]
    return [] if old == new else [f'{where}: {old} is now {new}']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--out', help='file to write the numbers to')
    what.add_argument('--compare', help='file to compare with')
    args = parser.parse_args()
    found = numbers()
    if args.out:
        write_text(args.out, json.dumps(found, indent=1) + '\n')
        return
    wrong = differences(json.loads(Path(args.compare).read_text()), found)
    print('\n'.join(wrong[:40]) or 'the numbers are the same')
    raise SystemExit(bool(wrong))


if __name__ == '__main__':
    main()
