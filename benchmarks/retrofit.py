"""Exits on a network that is trained already: this package and earlyon on the same one.

Both train exits at the same places of the same frozen network, on the same images, and calibrate a
policy for the same allowed drop: ours without labels, on kept feature maps; earlyon as its README
says. EfficientNet-Lite0 has its published weights, ResNet-18 is trained here on digits.

    python benchmarks/retrofit.py digits
    python benchmarks/retrofit.py lite0 --imagenette FILE.npz
"""

import argparse
import copy
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np
import torch
from earlyon.core.thresholds import collect_head_logits
from machine import RESULTS, describe_machine, save_result
from retrofit_methods import METHODS, count_lines
from retrofit_tasks import Images, Task, digits_resnet18, efficientnet_lite0, prepared
from torch import Tensor, nn

from mmrazor_byot.command import catch_signals, run_command
from mmrazor_byot.early_exit import ConfidencePolicy, ExitPolicy, RecordedNetwork, StagedNetwork
from mmrazor_byot.early_exit.measure import policy_flops
from mmrazor_byot.early_exit.run import run_policy
from mmrazor_byot.evaluation import stage_flops
from mmrazor_byot.evaluation.collect import collect_logits
from mmrazor_byot.export.export_network import export_network
from mmrazor_byot.runtime import EarlyExitModel
from mmrazor_byot.runtime.timing import interleaved
from mmrazor_byot.table import format_table

#: Batch size to the number of images that are timed.
TIMED = {1: 100, 64: 192}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('network', choices=['digits', 'lite0'])
    parser.add_argument('--imagenette', help='file with the images of lite0')
    parser.add_argument('--max-drop', type=float, default=0.3, help='percentage points')
    parser.add_argument('--views', type=int, default=8, help='of each photograph, for ours')
    parser.add_argument('--epochs', type=int, default=32, help='of ours')
    parser.add_argument('--peer-epochs', type=int, default=20, help="of earlyon, its default's")
    parser.add_argument(
        '--threads', type=int, default=torch.get_num_threads(), help='to train with'
    )
    parser.add_argument('--work-dir', help='keep the trained exits there; a rerun takes them')
    parser.add_argument('--name', help='of the result file')
    parser.add_argument('--out', default=RESULTS, help='folder for it')
    args = parser.parse_args()
    if (args.network == 'lite0') != bool(args.imagenette):
        parser.error('lite0 needs --imagenette FILE, digits no file')
    return args


def train(args: argparse.Namespace, model: nn.Module, name: str, *arguments: Any) -> dict:
    """Train exits unless ``--work-dir`` has them; the minutes that it took and of the processor."""
    path = Path(args.work_dir or '') / f'{args.network}_{name}.pth'
    if args.work_dir and path.exists():
        saved = torch.load(path)
        model.exit_heads.load_state_dict(saved['exit_heads'])
        model.eval()
        return saved['minutes']
    wall, cpu = time.perf_counter(), time.process_time()
    METHODS[name].train(model, *arguments)
    minutes = dict(
        wall_minutes=(time.perf_counter() - wall) / 60,
        cpu_minutes=(time.process_time() - cpu) / 60,
    )
    if args.work_dir:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(exit_heads=model.exit_heads.state_dict(), minutes=minutes), path)
    return minutes


class Result:
    """Accuracy and MACs of exits and a policy, from the logits (M, C, K) of the test images."""

    def __init__(self, task: Task, logits: Tensor, policy: ExitPolicy, costs: dict) -> None:
        self.task = task
        outcome = RecordedNetwork(logits).run(policy)
        sections = np.cumsum(costs['sections'])
        full, count = sections[-1], logits.shape[1]
        self.facts = dict(
            exits=[
                dict(
                    **self.top1(logits[:, i].argmax(1)),
                    macs_fraction=float(sections[i] + costs['heads'][i]) / float(full),
                )
                for i in range(count)
            ],
            policy=dict(
                **self.top1(outcome.scores.argmax(1)),
                macs_fraction=float(policy_flops(costs, outcome).mean() / full),
                leaving=[(outcome.exits == i + 1).double().mean().item() for i in range(count)],
                config=policy.config(),
            ),
        )

    def top1(self, predicted: Tensor) -> Dict[str, Optional[float]]:
        """In percent, on all images and on those that the network has not seen."""
        correct, unseen = predicted.numpy() == self.task.test.labels, self.task.unseen
        return dict(
            top1=100 * float(correct.mean()),
            unseen_top1=None if unseen is None else 100 * float(correct[unseen].mean()),
        )


def measure(task: Task, args: argparse.Namespace, folder: Path) -> dict:
    """All numbers of one network."""
    views = args.views if task.augment else 1
    images = task.loader(task.train, labels=False, train=True)
    labelled = task.loader(task.train, train=True)
    held_out, test = task.loader(task.held_out), task.loader(task.test)
    models = {
        name: method.attach(copy.deepcopy(task.net), task.after, task.size, task.heads)
        for name, method in METHODS.items()
    }
    ours, peer = models.values()
    minutes = dict(
        ours=train(args, ours, 'ours', images, args.epochs, views),
        earlyon=train(args, peer, 'earlyon', labelled, args.peer_epochs),
    )
    found = {n: METHODS[n].calibrate(m, held_out, args.max_drop) for n, m in models.items()}
    costs = stage_flops(ours, ours.input_size)
    logits = torch.from_numpy(collect_logits(ours, test).logits)
    peer_logits = torch.stack(collect_head_logits(peer, test, 'cpu').logits, dim=1)
    peer_costs = dict(sections=costs['sections'], heads=[*map(linear_macs, peer_heads(peer)), 0])
    policy = found['ours'].policy
    results = dict(
        ours=Result(task, logits, policy, costs).facts | minutes['ours'],
        earlyon=Result(task, peer_logits, peer_policy(peer), peer_costs).facts | minutes['earlyon'],
    )
    torch.set_num_threads(1)
    return dict(
        images={k: len(getattr(task, k).labels) for k in ('train', 'held_out', 'test')},
        after=task.after,
        macs=sum(costs['sections']),
        **results,
        eager_ms=eager_times(task, ours, policy, peer),
        onnxruntime_ms=file_times(export_files(task, ours, found['ours'], folder), task.test),
    )


def peer_heads(peer: nn.Module) -> List[nn.Module]:
    """Exit heads of earlyon, in their order."""
    return [peer.exit_heads[point.name] for point in peer.config.exit_points]


def linear_macs(head: nn.Module) -> int:
    """MACs of a head that pools first."""
    return sum(m.weight.numel() for m in head.modules() if isinstance(m, nn.Linear))


def peer_policy(peer: nn.Module) -> ExitPolicy:
    """The policy of earlyon's configuration; its decisions are those of ours."""
    config = peer.config
    thresholds = [
        threshold if enabled else None
        for threshold, enabled in zip(config.confidence_thresholds, config.enabled_exits)
    ]
    return ConfidencePolicy(thresholds, [config.temperatures[n] for n in config.head_names])


@torch.no_grad()
def eager_times(task: Task, ours: nn.Module, policy: ExitPolicy, peer: nn.Module) -> dict:
    """Milliseconds per image in torch, on one thread."""
    staged = StagedNetwork(ours)
    everything = torch.cat(prepared(task, task.test.part(0, max(TIMED.values()))))
    times = {}
    for size, count in TIMED.items():
        some = everything[:count]
        batches = some.split(size)
        routed = peer if size == 1 else peer.forward_inference_batched
        calls = dict(
            network=task.net,
            ours=lambda x: run_policy(staged, x, policy),
            earlyon=routed,
        )
        times[size] = per_image(
            {n: partial(run_all, c, batches) for n, c in calls.items()}, len(some)
        )
    return times


def run_all(call: Callable, batches: Sequence[Any]) -> None:
    """Run a network on all batches."""
    for batch in batches:
        call(batch)


def per_image(calls: Dict[str, Callable[[], None]], count: int) -> Dict[str, float]:
    """Median milliseconds per image of calls that classify so many, timed in turn."""
    times = interleaved(calls, seconds=0, at_least=5)
    return {name: 1000 * float(np.median(t)) / count for name, t in times.items()}


def export_files(task: Task, model: nn.Module, policy: Any, folder: Path) -> Dict[str, Path]:
    """The network cut at each exit, and the policy, one ONNX file each."""
    files = {f'exit {i}': folder / f'exit_{i}.onnx' for i in range(1, model.num_exits)}
    files['network'] = folder / 'network.onnx'
    for number, path in enumerate(files.values(), start=1):
        export_network(model, path, task.transform, exit_number=number)
    files['policy'] = folder / 'policy.onnx'
    export_network(model, files['policy'], task.transform, policy)
    return files


def file_times(files: Dict[str, Path], images: Images) -> dict:
    """Milliseconds per image in ONNX Runtime, on one thread."""
    models = {name: EarlyExitModel(path, threads=1) for name, path in files.items()}
    times = {}
    for size, count in TIMED.items():
        array = images.array[:count]
        batches = [array[i : i + size] for i in range(0, len(array), size)]
        calls = {name: partial(run_all, model, batches) for name, model in models.items()}
        times[size] = per_image(calls, len(array))
    return times


def tables(found: dict) -> str:
    """The results as tables in Markdown."""
    eager, file = found['eager_ms'], found['onnxruntime_ms']
    rows: List[list] = [['', 'top-1', 'unseen', 'MACs', 'ms'], _network_row(found)]
    ratios = {k: v / file[1]['network'] for k, v in file[1].items()}
    for method in METHODS:
        *shallow, _ = found[method]['exits']
        for i, row in enumerate(shallow, start=1):
            ms = f'{ratios[f"exit {i}"]:.2f}' if method == 'ours' else '-'
            rows.append([f'{method}, exit {i}', *_cells(row), ms])
        ms = f'{ratios["policy"]:.2f}' if method == 'ours' else '-'
        rows.append([f'{method}, policy', *_cells(found[method]['policy']), ms])
    times: List[list] = [['times the network', *METHODS]]
    for size, ms in eager.items():
        ratio = (f'{ms[m] / ms["network"]:.2f}' for m in METHODS)
        times.append([f'ms in torch, batch {size}', *ratio])
    for size, ms in file.items():
        times.append(
            [f'ms in ONNX Runtime, batch {size}', f'{ms["policy"] / ms["network"]:.2f}', '-']
        )
    for key in ('wall', 'cpu'):
        minutes = (f'{found[m][f"{key}_minutes"]:.1f}' for m in METHODS)
        times.append([f'training, {key} minutes', *minutes])
    times.append(['lines of the user', *found['lines'].values()])
    return '\n\n'.join(format_table(t, markdown=True) for t in (rows, times))


def _network_row(found: dict) -> List[str]:
    return ['as it was', *_cells(found['ours']['exits'][-1]), '1.00']


def _cells(row: dict) -> List[str]:
    unseen = row['unseen_top1']
    return [
        f'{row["top1"]:.1f}',
        '-' if unseen is None else f'{unseen:.1f}',
        f'{row["macs_fraction"]:.2f}',
    ]


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    machine = describe_machine('cpu')
    build = partial(efficientnet_lite0, args.imagenette) if args.imagenette else digits_resnet18
    with tempfile.TemporaryDirectory() as folder:
        found = measure(build(), args, Path(folder))
    settings = ('network', 'max_drop', 'views', 'epochs', 'peer_epochs')
    found = dict(
        command=f'python benchmarks/retrofit.py {args.network}',
        settings={name: getattr(args, name) for name in settings},
        machine=machine,
        lines={name: count_lines(functions) for name, functions in METHODS.items()},
        **found,
    )
    print(f'\n{tables(found)}\n')
    name = args.name or f'retrofit_{args.network}'
    print(f'written to {save_result(name, found, args.out)}')


if __name__ == '__main__':
    catch_signals()
    run_command(main)
