"""Every switch together with DistributedDataParallel, on two processes.

As a script, it trains in a folder, as it is and with every switch; rank 0 prints what differs.
"""

import json
import sys
import warnings
from argparse import Namespace
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.runner import Runner
from run import ROOT, script, succeeded
from short_runs import EMA, config, logged, saved

from mmrazor_byot.launch import leave_processes, start_processes

WRAPPER = {}  # DDP's settings on a CPU
SWITCHES = dict(channels_last=True, compile=dict(backend='aot_eager'))
AMP = dict(type='mmrazor_byot.AmpOptimWrapper', dtype='bfloat16')


def train(folder: Path, epochs=2, **changes) -> Runner:
    changes = dict(changes, launcher='pytorch', model_wrapper_cfg=WRAPPER)
    runner = Runner.from_cfg(config(folder, epochs, hooks=[EMA], **changes))
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
    broken = dict(load_from=str(root / 'fast/epoch_1.pth'), resume=True)
    resumed = train(root / 'resumed', **broken, **SWITCHES)
    half = train(root / 'half', 1, optim=AMP, **SWITCHES)
    if dist.get_rank() == 0:
        one, two, three = (saved(r, 2) for r in (plain, fast, resumed))
        found = dict(
            processes=dist.get_world_size(),
            switched=worst(one, two),
            resumed=worst(two, three),
            strides=len(strides),
            losses=[logged(r)[0]['loss'] for r in (plain, half)],
            moved=worst(one, saved(plain, 1)),
        )
        print(json.dumps(found))
    leave_processes()


def test_all_switches_on_two_processes(tmp_path):
    text = succeeded(script(__file__, tmp_path, ranks=2, PYTHONPATH=f'{ROOT}:{ROOT}/tests'))
    found = json.loads(next(line for line in text.splitlines() if line.startswith('{"processes')))
    assert found['processes'] == 2
    assert found['switched'] < 1e-5
    assert found['resumed'] == found['strides'] == 0
    loss, half = found['losses']
    assert half != loss and abs(half / loss - 1) < 0.03
    assert found['moved'] > 1e-3  # there was something to differ by


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
