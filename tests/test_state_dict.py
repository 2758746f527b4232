"""What is in a state dict must be usable as weights."""

from collections import OrderedDict

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import nn

from mmrazor_byot.checkpoint import load_from_address
from mmrazor_byot.errors import CheckpointError
from mmrazor_byot.models.loading import convert_state_dict
from mmrazor_byot.state_dict import bare_name, check_state_dict, describe_difference

ONES = torch.ones(2, 3)


def network(width=3) -> BaseModule:
    """Keys conv.weight, conv.bias, norm.weight ... norm.num_batches_tracked."""
    model = BaseModule()
    model.conv, model.norm = nn.Conv2d(2, width, 1), nn.BatchNorm2d(width)
    return model


def with_value(value, at=(0, 0), dtype=None):
    tensor = ONES.clone().to(dtype)
    tensor[at] = value
    return tensor


REFUSED = {
    'NaN': ('head.weight', with_value(float('nan')), 'NaN or infinite'),
    'inf': ('head.cls_token', with_value(float('inf')), 'NaN or infinite'),
    'inf and -inf': ('a.weight', torch.tensor([1, -1]) * float('inf'), 'NaN or infinite'),
    'fp16': ('a.bias', with_value(float('nan'), dtype=torch.float16), 'NaN or infinite'),
    'fp8': ('a.bias', with_value(float('nan')).to(torch.float8_e4m3fn), 'NaN or infinite'),
    'more than fp32': ('a.bias', with_value(1e39, dtype=torch.float64), 'NaN or infinite'),
    'statistics': ('bn.running_mean', with_value(float('nan')), 'NaN or infinite'),
    'complex': ('a.table', with_value(complex(0, float('nan')), dtype=torch.complex64), 'NaN or'),
    'negative': ('bn.running_var', with_value(-1e-9, at=(1, 2)), 'negative variances'),
    'integer': ('a.weight', ONES.long(), 'torch.int64, not floating point'),
    'bool': ('a.bias', ONES.bool(), 'torch.bool, not floating point'),
    'byte': ('bn.running_var', ONES.byte(), 'torch.uint8, not floating point'),
    'sparse': ('a.table', ONES.to_sparse(), 'torch.sparse_coo'),
    'rows': ('a.weight', ONES.to_sparse_csr(), 'torch.sparse_csr'),
    'nested': ('a.weight', torch.nested.nested_tensor([ONES]), 'nested'),
    'meta': ('a.weight', ONES.to('meta'), 'meta tensor'),
}


@pytest.mark.parametrize('name', REFUSED)
@pytest.mark.parametrize('kind', ['state_dict', 'ema_state_dict', 'bare'])
def test_refused(tmp_path, name, kind):
    key, value, word = REFUSED[name]
    if kind == 'ema_state_dict':
        key = f'module.{key}'
    path, state = tmp_path / 'a.pth', {'first.weight': ONES, key: value}
    torch.save(state if kind == 'bare' else {kind: state}, path)
    with pytest.raises(CheckpointError) as caught:
        load_from_address(str(path))
    message = str(caught.value)
    assert [w for w in (str(path), f'{key} ', word, '') if w not in message] == []
    assert '\n' not in message and (kind == 'ema_state_dict') == ('ema' in message)


def test_quantized():
    value = torch.quantize_per_tensor(ONES, 0.1, 0, torch.qint8)
    with pytest.raises(CheckpointError, match=r'S cannot be used: a.weight is quantized \(torch.q'):
        check_state_dict({'a.weight': value}, 'S')


def test_not_refused():
    """Large values, whose sum overflows; counters; masks; a variance of zero."""
    state = {
        'a.weight': torch.full((4,), 3e38),
        'b.weight': torch.full((9,), 6e4, dtype=torch.float16),
        'c.weight': torch.zeros(0, 3),
        'bn.running_var': torch.zeros(2),
        'bn.num_batches_tracked': torch.tensor(7),
        'relative_position_index': torch.arange(4),
        'mask': ONES.bool(),
        '_extra_state': None,
    }
    check_state_dict(state, 'S')


@pytest.mark.parametrize('content, kind', [(None, 'None'), ([1], 'a list'), (3, 'a int')])
@pytest.mark.parametrize('name', ['state_dict', 'ema_state_dict'])
def test_no_dict(tmp_path, content, kind, name):
    torch.save({name: content}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=f'the {name} of .*a.pth" is {kind}, not a dict'):
        load_from_address(str(tmp_path / 'a.pth'))


@pytest.mark.parametrize('key, value', [(1, ONES), (('a',), 1), (None, 1)])
def test_keys(key, value):
    with pytest.raises(CheckpointError, match='has the key .*, which is not a name'):
        check_state_dict({'a': ONES, key: value}, 'S')


@pytest.mark.parametrize('value', [[1], 'x', ONES])
def test_meta(tmp_path, value):
    for name, meta in (('meta', value), ('dataset_meta', dict(dataset_meta=value))):
        torch.save(dict(state_dict={}, meta=meta), tmp_path / 'a.pth')
        with pytest.raises(CheckpointError, match=f'the {name} of .*a.pth" is a .*, not a dict'):
            load_from_address(str(tmp_path / 'a.pth'))
    torch.save(dict(state_dict={}, meta=None), tmp_path / 'a.pth')
    assert load_from_address(str(tmp_path / 'a.pth'))['meta'] is None


@pytest.mark.parametrize('other', ['module.a.bias', '_orig_mod.a.bias', 'a._orig_mod.bias'])
@pytest.mark.parametrize('first', [False, True])
def test_one_weight_twice(other, first):
    keys = [other, 'a.bias'] if first else ['a.bias', other]
    with pytest.raises(CheckpointError, match=f'one weight twice, as {keys[0]} and {keys[1]}:'):
        check_state_dict(dict.fromkeys(keys, ONES), 'S')


WRAPPED = [
    'module.{}.{}',
    '_orig_mod.{}.{}',
    'module._orig_mod.{}.{}',
    '_orig_mod.module.{}.{}',
    '_orig_mod.module._orig_mod._orig_mod.module.{}.{}',
    '{}._orig_mod.{}',
    'module.{}._orig_mod.{}',
]


def test_bare_name():
    assert {bare_name(form.format('a', 'b')) for form in WRAPPED} == {'a.b'}
    assert bare_name('a.module.b') == 'a.module.b'  # a part of the network may have the name
    assert bare_name('a_orig_mod.b') == 'a_orig_mod.b'


def put(path, state, **others):
    torch.save(dict(state_dict=state, **others), path)
    return str(path)


def init_from(checkpoint):
    """As a config's init_cfg does."""
    model = network()
    model.init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
    model.init_weights()
    return model


def load_into(checkpoint):
    model = network()
    mmengine_checkpoint.load_checkpoint(model, checkpoint, map_location='cpu')
    return model


def load_ours(checkpoint):
    model = network()
    state = convert_state_dict(model, load_from_address(checkpoint))
    if difference := describe_difference(model, state):
        raise CheckpointError(difference)
    model.load_state_dict(state)
    return model


DOORS = [init_from, load_into, load_ours]


@pytest.mark.parametrize('load', DOORS)
@pytest.mark.parametrize('form', WRAPPED)
def test_names_of_wrapped_models(tmp_path, load, form):
    source = network()
    state = {form.format(*key.split('.')): v for key, v in source.state_dict().items()}
    loaded = load(put(tmp_path / 'a.pth', state))
    assert torch.equal(loaded.conv.weight, source.conv.weight)


def test_names_of_a_model_that_is_compiled_itself(tmp_path):
    """The names of the model decide, not those of the file."""
    source, target = network(), network()
    target.conv = torch.compile(target.conv, backend='eager')
    assert '_orig_mod' in list(target.state_dict())[0]
    for form in ('{}.{}', '_orig_mod.{}.{}', '{}._orig_mod.{}'):
        state = {form.format(*k.split('.')): v for k, v in source.state_dict().items()}
        path = put(tmp_path / 'a.pth', state)
        nn.init.zeros_(target.conv.weight)
        mmengine_checkpoint.load_checkpoint(target, path, map_location='cpu')
        assert torch.equal(target.conv.weight, source.conv.weight)


@pytest.mark.parametrize('load', DOORS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load(tmp_path, load, dtype):
    source = network()
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in source.state_dict().items()}
    loaded = load(put(tmp_path / 'a.pth', state))
    assert loaded.conv.weight.dtype == torch.float32
    assert torch.equal(loaded.conv.weight, source.conv.weight.to(dtype).float())


def test_counters_may_be_floats(tmp_path):
    state = {k: v.half() for k, v in network().state_dict().items()}
    load_ours(put(tmp_path / 'a.pth', state))


@pytest.mark.parametrize('load', DOORS)
@pytest.mark.parametrize('dtype', [torch.complex64, torch.int32])
def test_other_kinds_are_refused(tmp_path, load, dtype):
    state = network().state_dict()
    key = 'conv.weight' if dtype.is_complex else 'norm.running_var'
    state[key] = state[key].to(dtype)
    with pytest.raises(CheckpointError, match=f'{key} is {dtype}, not (torch.)?float'):
        load(put(tmp_path / 'a.pth', state))


@pytest.mark.parametrize('wrapped', [False, True])
def test_tables_keep_their_kind(wrapped):
    """A name that says nothing about the numbers; also in a wrapped model."""
    model = network()
    model.register_parameter('table', nn.Parameter(ONES.clone()))
    model.register_buffer('index', torch.arange(3))
    state = OrderedDict(model.state_dict())
    target = nn.DataParallel(model) if wrapped else model
    for key, value, own in (('table', ONES.long(), 'float32'), ('index', ONES[0], 'int64')):
        changed = OrderedDict({**state, key: value})
        with pytest.raises(CheckpointError, match=f'{key} is {value.dtype}, not torch.{own}'):
            mmengine_checkpoint.load_state_dict(target, changed)
    mmengine_checkpoint.load_state_dict(target, state, strict=True)
