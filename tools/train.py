"""Train a model from a config file."""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals('add --resume to go on from the last checkpoint')

import argparse

from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.launch import (
    add_runner_arguments,
    apply_runner_arguments,
    build_runner,
    load_config,
    run_tool,
    start_processes,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint, or without a path from the latest one in the work dir',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate from the base_batch_size of the config to the batch size of '
        'this run',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate while training')
    parser.add_argument(
        '--no-persistent-workers',
        action='store_true',
        help='restart the data loader workers each epoch',
    )
    add_runner_arguments(parser)
    return parser.parse_args()


def apply_arguments(cfg: Config, args: argparse.Namespace) -> None:
    apply_runner_arguments(cfg, args)
    save_every_epoch(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.type = 'mmrazor_byot.AmpOptimWrapper'
    if args.resume is not None:
        cfg.resume = args.resume if args.resume == 'auto' else True
        if args.resume != 'auto':  # otherwise what training starts from if there is no checkpoint
            cfg.load_from = args.resume
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ConfigError(
                f'--auto-scale-lr: "{args.config}" does not record its batch size; add '
                'auto_scale_lr=dict(base_batch_size=...)'
            )
        cfg.auto_scale_lr.enable = True
    if args.no_persistent_workers:
        for loader in ('train_dataloader', 'val_dataloader'):
            if cfg.get(loader):
                cfg[loader].persistent_workers = False


def save_every_epoch(cfg: Config) -> None:
    """Put our checkpoint hook in the place of MMEngine's."""
    hooks = cfg.setdefault('default_hooks', {})
    hooks.setdefault('checkpoint', dict(type='CheckpointHook', interval=1))  # MMEngine's default
    for hook in (*hooks.values(), *cfg.get('custom_hooks', [])):
        if hook and hook.get('type') in (
            'CheckpointHook',
            'mmengine.CheckpointHook',
            CheckpointHook,
        ):
            hook['type'] = 'mmrazor_byot.ResumableCheckpointHook'


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    apply_arguments(cfg, args)
    start_processes(cfg, args)
    build_runner(cfg).train()


if __name__ == '__main__':
    run_tool(main)
