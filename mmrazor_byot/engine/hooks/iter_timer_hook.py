"""Times of the iterations, at the same price late in a run as early."""

import time
from typing import Optional, Sequence, Union

from mmengine.hooks import IterTimerHook as MMEngineIterTimerHook

from mmrazor_byot.registry import HOOKS


@HOOKS.register_module()
class IterTimerHook(MMEngineIterTimerHook):
    """MMEngine's hook, which does not read what it has just written.

    Its reading makes the message hub append to the history of ``time`` in each iteration, and that
    copies the whole history. Log and ETA are MMEngine's own.
    """

    def _after_iter(
        self,
        runner,
        batch_idx: int,
        data_batch=None,
        outputs: Optional[Union[dict, Sequence]] = None,
        mode: str = 'train',
    ) -> None:
        """Note the time, and how long all that is left will take."""
        seconds = time.time() - self.t
        runner.message_hub.update_scalar(f'{mode}/time', seconds)
        self.t = time.time()
        if mode == 'train':
            self.time_sec_tot += seconds
            done = runner.iter - self.start_iter + 1
            mean = self.time_sec_tot / done
            left = runner.max_iters - runner.iter - 1
        else:
            self.time_sec_test_val += seconds
            mean = self.time_sec_test_val / (batch_idx + 1)
            loader = runner.val_dataloader if mode == 'val' else runner.test_dataloader
            left = len(loader) - batch_idx - 1
        runner.message_hub.update_info('eta', mean * left)
