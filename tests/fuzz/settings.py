"""Surfaces of settings: configs, keys and types, measured costs, and command lines."""

import copy
import json

import torch
from command import Case, call, command, tool_main
from mutate import WEIRD, data, tree
from run import DIGITS, NARROW, WEIGHTS


def configs(rng, folder, count):
    """Config files, read by a tool that builds their network."""
    (folder / 'itself.py').write_text('_base_ = "./itself.py"\n')
    own = f'_base_ = {str(DIGITS)!r}\n'
    texts = [
        '', 'exit()', 'raise ValueError("one\\ntwo")', 'model = 3', '_base_ = "./itself.py"', 'x = 1 / 0',
        'raise KeyboardInterrupt("x")'.replace('KeyboardInterrupt', 'StopIteration'), 'import nosuch',
        'custom_imports = dict(imports=["nosuch"])', 'custom_imports = 3', '_base_ = 3', '_base_ = []',
        '_base_ = ["mmpretrain::no.py"]', '_base_ = "mmrazor_byot::no.py"', 'model = dict()', '\0',
        'model = dict(type=3)', 'model = dict(type="ImageClassifier")', 'model = "é\\udcff"', 'def f(): pass',
        f'{own}model = dict(_delete_=True)', f'{own}optim_wraper = dict()', f'{own}train_cfg = []',
        f'{own}train_cfg = dict(max_epochs=0)', f'{own}model = dict(type="BYOT")', f'{own}_scope_ = 3',
        f'{own}default_scope = "foo"', f'{own}model = {{{{_base_.nosuch}}}}', f'{own}{"[" * 300}',
        f'{own}data_preprocessor = 3', f'{own}model = dict(architecture=dict(backbone=dict(depth=19)))',
    ]  # fmt: skip
    right = 'def f(): pass', f'{own}_scope_ = 3'
    whole = DIGITS.read_bytes()
    for i in range(count):
        path = folder / f'{i}.py'
        if i < len(texts):
            path.write_text(texts[i], errors='surrogatepass')
        else:
            base = str(DIGITS.parents[3]).encode()
            path.write_bytes(data(whole, rng).replace(b'../../../', base + b'/'))
        run = lambda path=path: command('get_flops.py', path)  # noqa: E731
        must = i < len(texts) and texts[i] not in right and 'train_cfg = []' not in texts[i]
        yield Case(
            f'config {path.read_bytes()[:120]!r}', run, wrong=must and '_scope_' not in texts[i]
        )


def misspelt(rng, folder, count):
    """Every key of a recipe in turn, misspelt or with another value, until all is built."""
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner

    from mmrazor_byot.config_errors import config_errors
    from mmrazor_byot.config_file import check_keys, load_config
    from mmrazor_byot.config_file import settings as all_settings
    from mmrazor_byot.models.loading import build_model

    whole = load_config(DIGITS, {**NARROW, 'test_dataloader.num_workers': 0})
    keys = [
        key
        for key, _ in all_settings(whole._cfg_dict)
        if key.split('.')[0] in ('model', 'test_dataloader', 'optim_wrapper') and '.' in key
    ]

    def use(key, change):
        cfg = copy.deepcopy(whole)
        *path, last = key.split('.')
        node = cfg._cfg_dict
        for part in path:
            node = node[int(part) if isinstance(node, (list, tuple)) else part]
        if isinstance(node, tuple):
            return
        if change == 'name' and isinstance(node, dict):
            node[f'{last}x'] = node.pop(last)
        elif isinstance(node, dict):
            node[last] = f'{node[last]}x' if change == 'name' else change
        else:
            node[int(last)] = change
        check_keys(cfg, {}, set(cfg))
        init_default_scope('mmpretrain')
        model = build_model(cfg)
        with config_errors():
            if key.startswith('optim'):
                Runner.build_optim_wrapper(type('R', (), dict(model=model)), cfg.optim_wrapper)
            if key.startswith('test'):
                next(iter(Runner.build_dataloader(cfg.test_dataloader)))

    for i in range(count):
        key = keys[i % len(keys)] if i < len(keys) else rng.choice(keys)
        change = 'name' if i < len(keys) else rng.choice(WEIRD)
        run = lambda key=key, change=change: call(use, key, change)  # noqa: E731
        yield Case(f'{key} {change!r:.60}', run)


def costs(rng, folder, count):
    """Results of tools/deploy/bench.py, and logits to calibrate on."""
    from mmrazor_byot.calibration import Costs, Goal, calibrate

    read = tool_main('calibrate_exits.py').__globals__['read_costs']
    good = dict(costs=dict(cumulative=[1.0, 2.0, 3.0, 4.0], fixed=[1.0, 2.0, 3.0, 4.0], unit='ms'))
    logits = torch.randn(40, 4, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 10
    wrong = (
        (logits * torch.nan, labels), (logits / 0, labels), (logits, labels + 1), (logits, labels - 1),
        (logits, labels[:7]), (logits[:0], labels[:0]), (logits[..., :0], labels), (logits[0], labels),
        (logits, labels.float() + 0.5), (logits[:, :2], labels), (logits.long(), labels),
    )  # fmt: skip

    def fit(path, values):
        cost = read(str(path), 4)
        assert 0 < cost.cumulative[0] < float('inf'), cost
        found = calibrate(
            *values, cost, goal=Goal(None, 0.9, None), kinds=['ConfidencePolicy'], ensembles=[False]
        )
        json.dumps(found.policy.config(), allow_nan=False)
        assert Costs

    for i in range(count):
        path = folder / f'{i}.json'
        content = tree(good, rng) if i % 2 else good
        path.write_text(json.dumps(content))
        if i % 4 == 2:
            path.write_bytes(data(path.read_bytes(), rng))
        values = rng.choice(wrong) if i % 4 == 0 else (logits, labels)
        yield Case(
            f'costs {path.read_bytes()[:200]!r} {i % 4}', lambda p=path, v=values: call(fit, p, v)
        )


def commands(rng, folder, count):
    """Command lines of every tool: paths and arguments that are wrong in some way."""
    (folder / 'file').write_text('x')
    (folder / 'folder').mkdir()
    png = folder / 'empty.png'
    png.write_bytes(b'')
    paths = (
        'no such', folder / 'file', folder / 'folder', '/dev/null', '/dev/full', 'a' * 300, '', '~nouser',
        folder / 'file/x', '\x1b[31m', 'é\udcff', '/proc/x/y', 'http://127.0.0.1:1/x', 'zoo://nosuch', png,
    )  # fmt: skip
    numbers = ('-1', '0', 'x', 'nan', 'inf', '1e400', '', '2.5', '9' * 30)
    any_path, number = lambda: rng.choice(paths), lambda: rng.choice(numbers)
    lines = (
        lambda: ('train.py', any_path()),
        lambda: ('train.py', DIGITS, '--cfg-options', rng.choice(('x', '=', 'max_epochs=1', 'a.b=[{', 'model=3'))),
        lambda: ('train.py', DIGITS, '--work-dir', folder / 'file'),
        lambda: ('train.py', DIGITS, '--resume', any_path(), '--work-dir', folder / 'w'),
        lambda: ('train.py', DIGITS, '--launcher', rng.choice(('pytorch', 'slurm', 'mpi', 'x'))),
        lambda: ('test.py', DIGITS, any_path(), '--work-dir', folder / 'w'),
        lambda: ('test.py', DIGITS, WEIGHTS, '--policy', any_path(), '--work-dir', folder / 'w'),
        lambda: ('test.py', DIGITS, WEIGHTS, '--out', any_path(), '--work-dir', folder / 'w'),
        lambda: ('infer.py', any_path(), '--model', 'byot_resnet18_2xb64_digits'),
        lambda: ('infer.py', png, '--model', any_path()),
        lambda: ('infer.py', png, '--model', DIGITS, rng.choice(('--exit', '--topk', '--batch-size')), number()),
        lambda: ('infer.py', png, '--model', DIGITS, rng.choice(('--weights', '--device', '--policy')), any_path()),
        lambda: ('get_flops.py', DIGITS, '--shape', number()),
        lambda: ('get_flops.py', any_path(), '--out', any_path()),
        lambda: ('calibrate_exits.py', DIGITS, any_path(), '--max-drop', '1'),
        lambda: ('calibrate_exits.py', DIGITS, WEIGHTS, rng.choice(('--max-drop', '--budget', '--latency-ms')), number(), '--costs', any_path()),
        lambda: ('deploy/export_onnx.py', any_path(), WEIGHTS, '--out', folder / 'x.onnx'),
        lambda: ('deploy/export_onnx.py', DIGITS, any_path(), '--out', folder / 'x.onnx'),
        lambda: ('deploy/bench.py', any_path(), '--batch', number()),
        lambda: ('runtime', any_path(), png),
        lambda: ('model_converters/export_student.py', DIGITS, any_path(), '--out', any_path()),
        lambda: ('model_converters/export_student.py', DIGITS, WEIGHTS, '--out', folder / 's', '--exit', rng.choice(('0', '9', 'x'))),
        lambda: ('model_converters/publish_model.py', any_path(), '--out', folder / 'p', '--name', 'x'),
        lambda: ('analysis_tools/plot_exits.py', DIGITS, any_path(), '--out', any_path()),
        lambda: ('model_zoo.py', 'verify', any_path()),
        lambda: ('model_zoo.py', 'download', rng.choice(('nosuch', '\x1b')), '--dest', any_path()),
    )  # fmt: skip
    for i in range(count):
        words = lines[i % len(lines)]()
        yield Case(f'{words!r}', lambda words=words: command(*words), wrong=True)
