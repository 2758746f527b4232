"""Saves checkpoints such that no finished epoch is lost."""

import os
from typing import Any, Dict, List, Optional, Sequence
from unittest import mock

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmrazor_byot.engine.resume import POINTER, fit_schedules, newest_checkpoint
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import write_text
from mmrazor_byot.registry import HOOKS

from .utils import is_training

KEPT = 'keep_ckpt_ids'  # MMEngine's name in the message hub
REPLACED = 'replaced_best_ckpts'


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """MMEngine's hook, but a run can be resumed from its last finished epoch, however it ended.

    With ``save_last`` each epoch is saved, and its checkpoint is removed after the next unless
    ``interval`` keeps it. All are written to a temporary file and renamed, and nothing is removed
    before what replaces it is written. A resumed run takes the newest checkpoint that loads, see
    :mod:`mmrazor_byot.engine.resume`, and first validates it if the run ended before that.

    Args:
        **settings: MMEngine's.

    Raises:
        TypeError: A setting is unknown.
        ConfigError: One has the wrong type.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in self.args:  # MMEngine would pass it on, when it first saves
            message = f"ResumableCheckpointHook() got an unexpected keyword argument '{name}'"
            raise TypeError(message)
        for name in ('interval', 'max_keep_ckpts', 'save_begin'):
            if type(value := getattr(self, name)) is not int:
                raise ConfigError(f'default_hooks.checkpoint.{name}={value!r} is not an integer')
        if self.filename_tmpl.format(1) == self.filename_tmpl.format(2):
            raise ConfigError(
                f'default_hooks.checkpoint.filename_tmpl="{self.filename_tmpl}" has no {{}}'
            )
        #: What was resumed and why, in lines.
        self.resumed: List[str] = []
        self._config_text = ''

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint to resume from, unless one is named."""
        if not is_training(runner) or not runner._resume:
            return
        if runner._load_from and runner._resume != 'auto':
            return
        found = [None, '']
        if is_main_process():
            name = os.path.basename(runner.work_dir.rstrip(os.sep))
            folders = [os.path.join(self.out_dir, name)] if self.out_dir else []
            found = list(newest_checkpoint(runner.work_dir, *folders))
        broadcast_object_list(found)
        path, why = found
        runner._resume = path is not None
        runner._load_from = path or runner._load_from
        self._note(runner, f'resuming from {path}, {why}' if path else f'starting anew: {why}')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Fit the schedules of a checkpoint to be resumed."""
        if runner._resume and is_training(runner):
            self._note(runner, fit_schedules(runner, checkpoint))

    def before_train(self, runner: Runner) -> None:
        """Finish the epoch resumed from: remove what it replaced, and validate it."""
        saved = runner.message_hub.runtime_info.get(KEPT, [])
        runner.message_hub.update_info(KEPT, self._kept(saved))
        super().before_train(runner)
        if saved and self.file_backend.isfile(path := self._path(saved[-1])):
            self._point_to(runner, path)  # if the run was killed just before it did
        self._remove_others(runner, saved)
        for path in runner.message_hub.runtime_info.get(REPLACED, []) if is_main_process() else ():
            if path not in self._best_paths() and self.file_backend.isfile(path):
                self.file_backend.remove(path)
        loop = runner.train_loop
        if runner._resume and runner.val_loop and isinstance(loop, EpochBasedTrainLoop):
            loop._decide_current_val_interval()
            due = loop.epoch % loop.val_interval == 0 or loop.epoch == loop.max_epochs
            done = runner.message_hub.runtime_info.get('validated') == loop.epoch
            if due and loop.epoch >= loop.val_begin and not done:
                runner.val_loop.run()

    def after_train_epoch(self, runner: Runner) -> None:
        """Save at the end of each epoch."""
        if self.save_last or (self.by_epoch and self._due(runner.epoch + 1)):
            epoch = runner.epoch + isinstance(runner.train_loop, EpochBasedTrainLoop)
            step = runner.epoch + 1 if self.by_epoch else runner.iter
            self._save_checkpoint_with_step(runner, step, dict(epoch=epoch, iter=runner.iter))

    def after_val_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        """Save the best."""
        runner.message_hub.update_info('validated', runner.epoch)
        super().after_val_epoch(runner, metrics or {})

    def _save_best_checkpoint(self, runner: Runner, metrics: Dict[str, float]) -> None:
        if not self.save_best:
            return
        for name in self.save_best:
            if name != 'auto' and name not in metrics:
                raise ConfigError(
                    f'default_hooks.checkpoint.save_best="{name}" is not a metric: choose from '
                    + ', '.join(metrics)
                )
        # In the checkpoint that names the new best, for a run that is killed before the removal.
        runner.message_hub.update_info(REPLACED, self._best_paths())
        with mock.patch.object(self.file_backend, 'remove') as remove:
            super()._save_best_checkpoint(runner, metrics)
        for call in remove.call_args_list:  # only now are others in their place
            self.file_backend.remove(*call.args)

    def _best_paths(self) -> List[str]:
        paths = vars(self).get('best_ckpt_path_dict') or {'': vars(self).get('best_ckpt_path')}
        return [path for path in paths.values() if path]

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        hub = runner.message_hub
        saved = [i for i in hub.runtime_info.get(KEPT, []) if i != step] + [step]
        hub.update_info(KEPT, saved)
        self.last_ckpt = self._path(step)
        hub.update_info('last_ckpt', self.last_ckpt)
        # To format it takes longer than to write a small checkpoint.
        self._config_text = self._config_text or runner.cfg.pretty_text
        with mock.patch.object(Config, 'pretty_text', self._config_text):
            runner.save_checkpoint(
                self.out_dir,
                self.filename_tmpl.format(step),
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
            )
        self._point_to(runner, self.last_ckpt)
        hub.update_info(KEPT, self._kept(saved))
        self._remove_others(runner, saved)

    def _point_to(self, runner: Runner, path: str) -> None:
        if is_main_process():
            write_text(os.path.join(runner.work_dir, POINTER), path)

    def _due(self, step: int) -> bool:
        """Whether ``interval`` keeps the checkpoint of an epoch or iteration."""
        step -= self.save_begin
        return self.interval > 0 and step >= 0 and step % self.interval == 0

    def _kept(self, saved: Sequence[int]) -> List[int]:
        kept = [step for step in saved[:-1] if self._due(step)] + list(saved[-1:])
        return kept[-self.max_keep_ckpts :] if self.max_keep_ckpts > 0 else kept

    def _remove_others(self, runner: Runner, saved: Sequence[int]) -> None:
        kept = runner.message_hub.runtime_info[KEPT]
        for step in set(saved) - set(kept) if is_main_process() else ():
            path = self._path(step)
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def _path(self, step: int) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))

    def _note(self, runner: Runner, text: Optional[str]) -> None:
        if text:
            self.resumed.append(text)
            runner.logger.info(text)
