"""Two epochs on two processes: as they are, and with every switch.

Run on two processes with a folder; rank 0 prints what differs.
"""

import sys
import warnings
from argparse import Namespace
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.runner import Runner
from short_runs import EMA, config, logged, saved

from mmrazor_byot.launch import leave_processes, start_processes

WRAPPER = {}  # DDP's settings on a CPU
SWITCHES = dict(channels_last=True, compile=dict(backend='aot_eager'))
AMP = dict(type='mmrazor_byot.AmpOptimWrapper', dtype='bfloat16')


def train(folder: Path, epochs=2, **changes) -> Runner:
    runner = Runner.from_cfg(
        config(
            folder, epochs, hooks=[EMA], launcher='pytorch', model_wrapper_cfg=WRAPPER, **changes
        )
    )
    runner.train()
    dist.barrier()
    return runner


def worst(a, b) -> float:
    """The largest difference of weights and of their average."""
    return max(
        (a[part][k].double() - b[part][k]).abs().max().item()
        for part in ('state_dict', 'ema_state_dict')
        for k in a[part]
    )


def main() -> None:
    root = Path(sys.argv[1])
    cfg = Config()
    start_processes(cfg, Namespace(local_rank=None, launcher='pytorch'))
    WRAPPER.update(cfg.model_wrapper_cfg)
    plain = train(root / 'plain')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        fast = train(root / 'fast', **SWITCHES)
    strides = [w for w in caught if 'strides' in str(w.message)]
    train(root / 'broken', 1, **SWITCHES)
    resumed = train(root / 'broken', resume=True, **SWITCHES)
    half = train(root / 'half', optim=AMP, **SWITCHES)
    if dist.get_rank() == 0:
        one, two, three = (saved(r, 2) for r in (plain, fast, resumed))
        losses = [logged(r)[-1]['loss'] for r in (plain, half)]
        print(
            f'{dist.get_world_size()} processes, switched {worst(one, two):.3e}, resumed '
            f'{worst(two, three):.3e}, stride warnings {len(strides)}, losses {losses}, moved '
            f'{worst(one, saved(plain, 1)):.3e}'
        )
    leave_processes()


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
