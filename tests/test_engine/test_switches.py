"""channels_last, AMP, compile and EMA, each with all the others."""

import copy

import pytest
import torch
from mmengine.runner import Runner
from short_runs import (
    EMA,
    GRAPHS,
    VALIDATION,
    assert_close,
    config,
    logged,
    saved,
    train,
)

from mmrazor_byot.engine.hooks.channels_last_hook import follow_weights

AMP = dict(type='mmrazor_byot.AmpOptimWrapper', dtype='bfloat16')
ROUNDING = dict(rtol=1e-3, atol=1e-4)


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


def convolution(state, prefix=''):
    """A 3 x 3 convolution's weight, whose layout can be told."""
    return state[f'{prefix}architecture.backbone.conv2.weight']


def test_mmengines_moving_average_in_channels_last(tmp_path):
    """With batch norm averaged too, for which it lists storage."""
    hook = dict(type='EMAHook', update_buffers=True, momentum=0.2)
    ours, theirs = (
        saved(train(tmp_path / str(on), hooks=[hook], channels_last=on), 2) for on in (True, False)
    )
    assert_close(ours['ema_state_dict'], theirs['ema_state_dict'], **ROUNDING)


SWITCHES = [
    dict(channels_last=True),
    dict(compile=dict(backend='counted')),
    dict(compile=dict(backend='aot_eager'), channels_last=True),
]


@pytest.mark.parametrize('switches', SWITCHES, ids=str)
def test_results_are_those_of_the_plain_run(tmp_path, plain, switches):
    """Weights, average, losses and validation after two epochs."""
    runner = train(tmp_path / 'run', hooks=[EMA], **VALIDATION, **copy.deepcopy(switches))
    ours, theirs = saved(runner, 2), saved(plain, 2)
    for part in ('state_dict', 'ema_state_dict'):
        assert_close(ours[part], theirs[part], **ROUNDING)
    assert losses(runner) == pytest.approx(losses(plain), rel=1e-3)
    assert 'exit1/top1' in logged(runner)[-1]
    assert logged(runner)[-1]['accuracy/top1'] == pytest.approx(
        logged(plain)[-1]['accuracy/top1'], abs=10.1
    )  # one image of ten
    for name, value in switches.items():
        assert runner.cfg[name] == value


@pytest.mark.parametrize('switches', [dict(), *SWITCHES], ids=str)
def test_bfloat16_learns_what_float32_does(tmp_path, plain, switches):
    """As well as its 8 bits allow."""
    runner = train(
        tmp_path / 'run', hooks=[EMA], optim=AMP, **VALIDATION, **copy.deepcopy(switches)
    )
    assert losses(runner) == pytest.approx(losses(plain), rel=0.03)
    assert losses(runner) != losses(plain)
    dtypes = {v.dtype for v in saved(runner, 2)['state_dict'].values()}
    assert dtypes == {torch.float32, torch.int64}


@pytest.mark.parametrize(
    'switches',
    [
        dict(),
        dict(channels_last=True),
        dict(channels_last=True, optim=AMP, compile=dict(backend='counted')),
    ],
    ids=str,
)
def test_resuming_changes_nothing(tmp_path, switches):
    """To the last bit, the average included."""
    settings = dict(hooks=[EMA], **switches)
    whole = saved(train(tmp_path / 'whole', 2, **settings), 2)
    train(tmp_path / 'broken', 1, **settings)
    broken = saved(train(tmp_path / 'broken', 2, resume=True, **settings), 2)
    for part in ('state_dict', 'ema_state_dict'):
        assert_close(broken[part], whole[part])
    for i, state in whole['optimizer']['state'].items():
        assert torch.equal(
            state['momentum_buffer'], broken['optimizer']['state'][i]['momentum_buffer']
        )


@pytest.mark.parametrize('before, after', [(True, False), (False, True)])
def test_layouts_of_checkpoint_and_run_may_differ(tmp_path, plain, before, after):
    """Switched on or off at a resume."""
    settings = dict(hooks=[EMA])
    first = train(tmp_path / 'run', 1, channels_last=before, **settings)
    runner = train(tmp_path / 'run', 2, channels_last=after, resume=True, **settings)
    assert_close(saved(runner, 2)['state_dict'], saved(plain, 2)['state_dict'], **ROUNDING)
    for one, on in ((first, before), (runner, after)):
        live = [convolution(one.model.state_dict())]
        live += [
            s['momentum_buffer']
            for p, s in one.optim_wrapper.optimizer.state.items()
            if p is one.model.get_parameter('architecture.backbone.conv2.weight')
        ]
        live += [
            convolution(hook.ema_model.state_dict(), 'module.')
            for hook in one.hooks
            if hasattr(hook, 'ema_model')
        ]
        assert len(live) == 3
        assert [is_channels_last(w) for w in live] == [on] * 3
        file = saved(one, 1 if one is first else 2)
        assert all(
            v.is_contiguous()
            for part in ('state_dict', 'ema_state_dict')
            for v in file[part].values()
        )
        assert all(
            s['momentum_buffer'].is_contiguous() for s in file['optimizer']['state'].values()
        )


def test_channels_last_when_testing(tmp_path, plain):
    path = f'{plain.work_dir}/epoch_2.pth'
    found = []
    for on in (False, True):
        cfg = config(
            tmp_path / str(on),
            channels_last=on,
            load_from=path,
            test_dataloader=VALIDATION['val_dataloader'],
            test_cfg=dict(),
            test_evaluator=VALIDATION['val_evaluator'],
        )
        runner = Runner.from_cfg(cfg)
        found.append(runner.test())
        weight = convolution(runner.model.state_dict())
        assert is_channels_last(weight) == on
        torch.testing.assert_close(weight, convolution(saved(plain, 2)['state_dict']))
    assert found[1] == pytest.approx(found[0], abs=10.1)


def has_fused_sgd():
    weight = torch.nn.Parameter(torch.ones(1))
    try:
        torch.optim.SGD([weight], lr=1.0, fused=True)
    except (TypeError, RuntimeError):
        return False
    return True


@pytest.mark.skipif(not has_fused_sgd(), reason='on a CPU from torch 2.4 on')
@pytest.mark.parametrize('half', [dict(), AMP], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize('nhwc', [False, True])
def test_fused_optimizer(tmp_path, half, nhwc):
    """With clipping, and resumed."""
    weights = []
    for fused in (False, True):
        sgd = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4, fused=fused)
        settings = dict(
            channels_last=nhwc, optim=dict(half, optimizer=sgd, clip_grad=dict(max_norm=0.5))
        )
        folder = tmp_path / str(fused)
        train(folder, 1, **settings)
        runner = train(folder, 2, resume=True, **settings)
        weights.append(saved(runner, 2)['state_dict'])
    assert_close(*weights, rtol=1e-4, atol=1e-5)


def test_the_state_of_an_optimizer_follows_its_weights():
    conv = torch.nn.Conv2d(3, 4, 3)
    optimizer = torch.optim.Adam(conv.parameters())
    conv(torch.randn(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    before = {k: v.clone() for k, v in optimizer.state[conv.weight].items()}
    conv.to(memory_format=torch.channels_last)
    follow_weights(optimizer)
    after = optimizer.state[conv.weight]
    assert is_channels_last(after['exp_avg'])
    assert all(torch.equal(after[k], before[k]) for k in before)
