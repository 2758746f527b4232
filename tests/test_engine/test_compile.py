"""One graph of the network and its losses, and no more."""

import copy
import sys

import pytest
import torch
from run import ROOT, run
from short_runs import EMA, GRAPHS, MODEL, VALIDATION, assert_close, logged, saved, train

from mmrazor_byot.engine.hooks.compile_hook import compile_model
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS


@pytest.fixture(autouse=True)
def no_graphs():
    torch._dynamo.reset()
    GRAPHS.clear()


def test_one_graph_is_compiled(tmp_path):
    """Not one for the last batch of 4, for validation, or each epoch."""
    runner = train(tmp_path / 'run', 3, hooks=[EMA], compile=dict(backend='counted'), **VALIDATION)
    assert GRAPHS == [8]
    assert 'train_step' not in vars(runner.model)  # MMEngine's own switch
    assert not any('_orig_mod' in k for k in saved(runner, 3)['state_dict'])
    assert saved(runner, 3)['meta']['cfg'].count("backend='counted'") == 1


def test_a_copy_of_a_compiled_model_is_its_own(batch):
    """Its weights are trained, not those of the first."""
    model = MODELS.build(copy.deepcopy(MODEL)).train()
    assert compile_model(model, backend='counted')
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.architecture.head.fc.weight.zero_()
    terms = other.loss(*batch(6, size=16))
    assert GRAPHS == [6]
    fc = other.architecture.head.fc
    sum(terms.values()).backward()
    assert fc.weight.grad is not None
    assert model.architecture.head.fc.weight.grad is None
    # All logits are those of the bias: the label loss is by hand.
    expected = -fc.bias.log_softmax(0)[torch.arange(6) % 5].mean()
    torch.testing.assert_close(terms['exit2.label_loss'], expected)


def test_a_plain_classifier_is_compiled_too(batch):
    """Its backbone; evaluation is left as it is."""
    architecture = copy.deepcopy(MODEL['architecture'])
    architecture['head']['in_channels'] = 32
    model = MODELS.build(architecture)
    images, samples = batch(8, size=16)
    expected = model.train().loss(images, samples)['loss']
    assert compile_model(model, backend='counted')
    torch.testing.assert_close(model.loss(images, samples)['loss'], expected)
    model.eval()
    model.predict(images)
    assert GRAPHS == [8]
    assert not compile_model(torch.nn.Linear(1, 1), backend='counted')


def test_bad_switch(tmp_path):
    with pytest.raises(ConfigError, match="compile='yes'"):
        train(tmp_path / 'run', compile='yes')


def test_no_compiler_is_one_error(tmp_path):
    """In a process that has none and nothing compiled before."""
    script = (
        'import sys; from pathlib import Path; from short_runs import train\n'
        'from mmrazor_byot.launch import run_tool\n'
        'run_tool(lambda: train(Path(sys.argv[1]) / "run", 1, compile=True))'
    )
    command = sys.executable, '-c', script, tmp_path
    cache = str(tmp_path / 'cache')
    environment = dict(CXX='no-compiler', TORCHINDUCTOR_CACHE_DIR=cache, PATH='')
    done = run(*command, cwd=ROOT / 'tests', **environment)
    (line,) = [s for s in done.stderr.splitlines() if s.startswith('error: ')]
    assert 'compile: torch cannot compile here' in line
    assert 'set compile=False' in line


@pytest.mark.slow
def test_inductor(tmp_path):
    """The compiler that users get, with everything else switched on."""
    half = dict(type='mmrazor_byot.AmpOptimWrapper', dtype='bfloat16')
    switches = dict(compile=True, channels_last=True)
    plain, compiled, half = (
        train(tmp_path / str(i), hooks=[EMA], **VALIDATION, **changes)
        for i, changes in enumerate([{}, switches, dict(switches, optim=half)])
    )
    weights = [saved(runner, 2)['state_dict'] for runner in (compiled, plain)]
    assert_close(*weights, rtol=1e-3, atol=1e-4)
    assert logged(half)[-2]['loss'] == pytest.approx(logged(plain)[-2]['loss'], rel=0.03)
