"""A loss that becomes NaN stops the run and leaves the last checkpoint."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from run import DIGITS, NARROW

from mmrazor_byot.checkpoint import load_from_local
from mmrazor_byot.errors import NonFiniteLossError


class Sabotage(Hook):
    """Breaks a weight of exit 2 at an iteration."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 5:
            with torch.no_grad():
                runner.model.exit_heads[1].fc.bias[3] = float('nan')


@pytest.mark.parametrize('interval', [1, 1000])
def test_nan(tmp_path, interval):
    cfg = Config.fromfile(DIGITS)
    cfg.merge_from_dict({**NARROW, 'default_hooks.checkpoint.interval': 1})
    cfg.train_cfg.update(max_epochs=2, val_interval=10)
    cfg.work_dir = str(tmp_path)
    for hook in cfg.custom_hooks:
        if hook['type'].endswith('FiniteLossHook'):
            hook['interval'] = interval
    cfg.train_dataloader.collate_fn = dict(type='default_collate')
    cfg.train_dataloader.dataset.indices = 256
    runner = Runner.from_cfg(cfg)  # 4 iterations an epoch
    runner.register_hook(Sabotage())
    message = r'iteration 6 \(exit2.label_loss = nan, exit2.logit_loss = nan\)'
    with pytest.raises(NonFiniteLossError, match=message):
        runner.train()
    assert [p.name for p in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    saved = load_from_local(str(tmp_path / 'epoch_1.pth'))
    assert all(torch.isfinite(v.float()).all() for v in saved['state_dict'].values())
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')
