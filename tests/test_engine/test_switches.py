"""channels_last, AMP, compile and EMA, each with all the others."""

import copy

import pytest
import torch
from mmengine.runner import Runner
from short_runs import EMA, GRAPHS, VALIDATION, assert_close, config, logged, saved, train

AMP = dict(type='mmrazor_byot.AmpOptimWrapper', dtype='bfloat16')
ROUNDING = dict(rtol=1e-3, atol=1e-4)
CONV = 'architecture.backbone.conv2.weight'  # 3 x 3, whose layout can be told
SWITCHES = [
    dict(channels_last=True),
    dict(compile=dict(backend='counted')),
    dict(compile=dict(backend='aot_eager'), channels_last=True),
]


@pytest.fixture(autouse=True)
def no_graphs():
    torch._dynamo.reset()
    GRAPHS.clear()


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """Two epochs as they are, with a moving average."""
    return train(tmp_path_factory.mktemp('switches') / 'plain', hooks=[EMA], **VALIDATION)


def losses(runner):
    return [line['loss'] for line in logged(runner) if 'loss' in line]


def is_channels_last(weight):
    return weight.is_contiguous(memory_format=torch.channels_last)


def test_mmengines_moving_average_in_channels_last(tmp_path):
    """With batch norm averaged too, for which it lists storage."""
    hook = dict(type='EMAHook', update_buffers=True, momentum=0.2)
    ours, theirs = (
        saved(train(tmp_path / str(on), hooks=[hook], channels_last=on), 2) for on in (True, False)
    )
    assert_close(ours['ema_state_dict'], theirs['ema_state_dict'], **ROUNDING)


@pytest.mark.parametrize('switches', SWITCHES, ids=str)
def test_results_are_those_of_the_plain_run(tmp_path, plain, switches):
    """Weights, average, losses and validation after two epochs."""
    runner = train(tmp_path / 'run', hooks=[EMA], **VALIDATION, **copy.deepcopy(switches))
    ours, theirs = saved(runner, 2), saved(plain, 2)
    for part in ('state_dict', 'ema_state_dict'):
        assert_close(ours[part], theirs[part], **ROUNDING)
    assert losses(runner) == pytest.approx(losses(plain), rel=1e-3)
    found, expected = (logged(r)[-1]['accuracy/top1'] for r in (runner, plain))
    assert found == pytest.approx(expected, abs=10.1)  # one image of ten
    for name, value in switches.items():
        assert runner.cfg[name] == value


@pytest.mark.parametrize('switches', [dict(), *SWITCHES[1:]], ids=str)
def test_bfloat16_learns_what_float32_does(tmp_path, plain, switches):
    """As well as its 8 bits allow."""
    settings = dict(VALIDATION, hooks=[EMA], optim=AMP)
    runner = train(tmp_path / 'run', **settings, **copy.deepcopy(switches))
    assert losses(runner) == pytest.approx(losses(plain), rel=0.03)
    assert losses(runner) != losses(plain)
    dtypes = {v.dtype for v in saved(runner, 2)['state_dict'].values()}
    assert dtypes == {torch.float32, torch.int64}


@pytest.mark.parametrize(
    'switches',
    [dict(), dict(channels_last=True, optim=AMP, compile=dict(backend='counted'))],
    ids=str,
)
def test_resuming_changes_nothing(tmp_path, switches):
    """To the last bit, the average included."""
    settings = dict(hooks=[EMA], **switches)
    whole = saved(train(tmp_path / 'whole', **settings), 2)
    half_way = dict(load_from=str(tmp_path / 'whole/epoch_1.pth'), resume=True)
    broken = saved(train(tmp_path / 'broken', **half_way, **settings), 2)
    for part in ('state_dict', 'ema_state_dict'):
        assert_close(broken[part], whole[part])
    for i, state in whole['optimizer']['state'].items():
        assert_close(broken['optimizer']['state'][i], state)


@pytest.mark.parametrize('before, after', [(True, False), (False, True)])
def test_layouts_of_checkpoint_and_run_may_differ(tmp_path, plain, before, after):
    """Switched on or off at a resume."""
    first = train(tmp_path / 'run', 1, hooks=[EMA], channels_last=before)
    runner = train(tmp_path / 'run', 2, hooks=[EMA], channels_last=after, resume=True)
    assert_close(saved(runner, 2)['state_dict'], saved(plain, 2)['state_dict'], **ROUNDING)
    for one, on in ((first, before), (runner, after)):
        weight = one.model.get_parameter(CONV)
        (average,) = [hook.ema_model.module for hook in one.hooks if hasattr(hook, 'ema_model')]
        momentum = one.optim_wrapper.optimizer.state[weight]['momentum_buffer']
        live = [weight, average.get_parameter(CONV), momentum]
        assert [is_channels_last(w) for w in live] == [on] * 3
        file = saved(one, 1 if one is first else 2)
        states = [file['state_dict'], file['ema_state_dict'], *file['optimizer']['state'].values()]
        assert all(v.is_contiguous() for state in states for v in state.values())


def test_channels_last_when_testing(tmp_path, plain):
    found = []
    for on in (False, True):
        cfg = config(
            tmp_path / str(on),
            channels_last=on,
            load_from=f'{plain.work_dir}/epoch_2.pth',
            test_dataloader=VALIDATION['val_dataloader'],
            test_cfg=dict(),
            test_evaluator=VALIDATION['val_evaluator'],
        )
        runner = Runner.from_cfg(cfg)
        found.append(runner.test())
        weight = runner.model.get_parameter(CONV)
        assert is_channels_last(weight) == on
        torch.testing.assert_close(weight.data, saved(plain, 2)['state_dict'][CONV])
    assert found[1] == pytest.approx(found[0], abs=10.1)


@pytest.mark.parametrize('half', [dict(), AMP], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize('optimizer', ['SGD', 'AdamW'])
def test_fused_optimizer(tmp_path, half, optimizer):
    """In channels_last, with clipping, and resumed."""
    momentum = dict(momentum=0.9) if optimizer == 'SGD' else {}
    weights = []
    for fused in (False, True):
        ours = dict(type=optimizer, lr=0.01, weight_decay=5e-4, fused=fused, **momentum)
        optim = dict(half, optimizer=ours, clip_grad=dict(max_norm=0.5))
        settings = dict(channels_last=True, optim=optim)
        folder = tmp_path / str(fused)
        train(folder, 1, **settings)
        runner = train(folder, 2, resume=True, **settings)
        weights.append(saved(runner, 2)['state_dict'])
    assert_close(*weights, rtol=1e-4, atol=1e-5)
