"""Surfaces of files: each yields cases of a reader with an input that may be wrong."""

import dataclasses
import io
import json
import os

import numpy as np
import torch
import yaml
from command import Case, call
from mutate import WEIRD, data, tree
from PIL import Image
from run import WEIGHTS

POLICIES = [
    dict(type='ConfidencePolicy', thresholds=[0.9, 0.8, None], temperatures=[1.0, 1.2, 1.1, 1.0]),
    dict(type='MarginPolicy', thresholds=0.5, ensemble=True),
    dict(type='EntropyPolicy', thresholds=[0.1, 0.2, 0.3]),
    dict(type='PatiencePolicy', patience=2),
    dict(type='FixedExitPolicy', exit_number=2),
]


def policies(rng, folder, count):
    """Policy files; one that is read is used for a batch."""
    from mmrazor_byot.early_exit import read_policy

    probabilities = [torch.full((3, 10), 0.1)] * 4

    def use(path):
        policy = read_policy(path).policy
        for number in range(1, policy.last(4)):
            if policy.uses_exit(number):
                policy.should_exit(probabilities[:number], number)
        policy.probabilities(probabilities[0], 1)
        policy.answer(probabilities)
        json.dumps(policy.config(), allow_nan=False)

    for i in range(count):
        fields = dict(format='mmrazor_byot exit policy 1', num_exits=4, num_classes=10)
        fields.update(policy=POLICIES[i % 5], calibration=dict(images=7))
        path = folder / f'{i}.json'
        if i % 3:
            path.write_text(json.dumps(tree(fields, rng)))
        else:
            path.write_bytes(data(json.dumps(fields).encode(), rng))
        yield Case(f'policy {path}', lambda path=path: call(use, path))
    for name, text in dict(
        infinite='{"type": "FixedExitPolicy", "exit_number": Infinity}',
        deep='[' * 100_000,
        long='{"type": "FixedExitPolicy", "exit_number": ' + '9' * 5000 + '}',
    ).items():
        path = folder / name
        whole = (
            '{"format": "mmrazor_byot exit policy 1", "num_exits": 4, "num_classes": 10, "policy": '
        )
        path.write_text(f'{whole}{text}}}')
        yield Case(name, lambda path=path: call(use, path), wrong=True)


def packed(rng, folder, count):
    """Packed image files and the arguments of the data set."""
    from mmengine.registry import DATASETS

    from mmrazor_byot.config_errors import config_errors
    from mmrazor_byot.datasets import PackedImages
    from mmrazor_byot.datasets.packed_images import pack_images

    file = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(file, 'PNG')
    good = dict(
        name=np.array(['a', 'b']),
        train_jpeg=np.frombuffer(file.getvalue() * 4, np.uint8),
        train_offset=np.arange(5) * len(file.getvalue()),
        train_label=np.array([0, 1, 0, 1]),
    )
    changes = (
        lambda x: (
            x.astype(float) + (0.5 if x.dtype.kind == 'i' else 0) if x.dtype.kind in 'iu' else x[:1]
        ),
        lambda x: x.reshape(1, -1),
        lambda x: np.array(7),
        lambda x: x[:0],
        lambda x: x[:-1],
        lambda x: x[::-1],
        lambda x: x.astype(str),
        lambda x: np.array(['x', 'y', 'z', 'x', 'y'])[: len(x)],
        lambda x: np.array([None, {}], object),
        lambda x: x.astype(np.int64) * 1000 if x.dtype.kind in 'iu' else x,
        lambda x: -x.astype(np.int64) if x.dtype.kind in 'iu' else x,
        lambda x: x.astype(np.int64) - 2**40 if x.dtype.kind in 'iu' else x,
        lambda x: x.astype(complex) if x.dtype.kind in 'iu' else x,
        lambda x: x.astype(bool),
        lambda x: np.full(x.shape, np.nan),
        lambda x: np.concatenate([x, x]),
    )
    arguments = dict(
        split='train', num_classes=2, hold_out_every=2, held_out=False, skip_per_class=0,
        samples_per_class=1, indices=2, pipeline=[], metainfo=dict(classes=['a', 'b']),
        data_root='', test_mode=False,
    )  # fmt: skip

    def use(path, **settings):
        settings = {key: settings[key] for key in settings if key != 'type'}
        with config_errors():
            found = DATASETS.build(dict(type=PackedImages, ann_file=str(path), **settings))
        found.full_init()
        assert found.images.dtype == np.uint8 and found.images.ndim == 4
        assert len(found.images) == len(found.labels) > 0
        assert set(found.labels) <= set(range(len(found.metainfo['classes'])))
        sample = found[0]
        return sample['gt_label']

    def pack(path, *args, **splits):
        pack_images(str(path), *args, **splits)
        return use(path)

    for i in range(count):
        path = folder / f'{i}.npz'
        arrays, settings = dict(good), {}
        if i % 4 == 0:
            settings = tree(arguments, rng)
            settings = {key: value for key, value in settings.items() if rng.random() < 0.5}
        elif i % 4 == 1:
            files = [file.getvalue()] * 4
            labels = tree([0, 1, 0, 1], rng)
            split = dict(
                files=rng.choice([files, *WEIRD]) if i % 8 == 1 else tree(files, rng), labels=labels
            )
            run = lambda path=path, split=split: call(
                pack, path, ['a', 'b'], train=tuple(split.values())
            )  # noqa: E501, E731
            yield Case(f'pack_images {split!r:.200}', run)
            continue
        else:
            key = rng.choice(list(arrays))
            arrays[key] = rng.choice(changes)(arrays[key])
            if rng.random() < 0.1:
                del arrays[key]
        np.savez(path, **arrays)
        if i % 4 == 3:
            path.write_bytes(data(path.read_bytes(), rng))
        run = lambda path=path, settings=settings: call(use, path, **settings)  # noqa: E731
        yield Case(f'packed {path} {settings}', run)


def zoo(rng, folder, count):
    """Entries of the model index, addresses and folders."""
    from unittest import mock

    from mmrazor_byot import zoo

    models = [
        dict(
            Name=f'net{i}',
            Metadata={'Parameters': 3, 'FLOPs': 4, 'Training Data': 'D'},
            Results=[dict(Dataset='D', Metrics={'Top 1 Accuracy': 3.5}, Task='T')],
            Config='a.py',
            Weights='file:///nowhere/net-01234567.pth',
        )
        for i in range(2)
    ]
    addresses = (
        'http://[::1/x-01234567.pth', 'file:///a\0b-01234567.pth', f'file:///{"a" * 300}-01234567.pth',
        'x-01234567.pth', '~nouser/x-01234567.pth', 'ftp://', 'http://', '://', 'zoo://x', 'file://x/y',
        'http://127.0.0.1:1/x-01234567.pth', 'http://127.0.0.1:99999/x-01234567.pth', 'data:,x',
        'http://\n/x-01234567.pth', 'file:///dev/null', 'http://é\udcff/x-01234567.pth', '/', '..', '',
        'http://127.0.0.1:1/\x1b-01234567.pth', 'HTTP://127.0.0.1:1/%00-01234567.pth', 'nosuch:x',
    )  # fmt: skip
    (folder / 'file').write_text('')
    places = (None, folder / 'new', folder / 'file', '~nouser', 'a\0b', 'a' * 300, '/dev/null', '')
    tool = lambda *args: call(zoo.download, *args, progress=False)  # noqa: E731

    def use(root, run):
        with mock.patch.object(zoo, 'find_root', lambda: root):
            return run()

    def show():
        from command import tool_main

        return [tool_main('model_zoo.py').__globals__['describe'](m) for m in zoo.list_models()]

    for i in range(count):
        root = folder / str(i)
        root.mkdir()
        index, meta = dict(Import=['meta.yml']), dict(Models=models)
        run = lambda: call(show)  # noqa: E731
        if i % 3 == 0:
            meta['Models'] = [dict(models[0], Weights=rng.choice(addresses)), models[1]]
            words = 'net0', rng.choice(places), rng.choice((None, *addresses))
            if words[2] is not None and rng.random() < 0.5:
                meta['Models'][0]['Weights'] = models[0]['Weights']
            run = lambda words=words: tool(*words)  # noqa: E731
        elif i % 3 == 1:
            meta = tree(meta, rng)
        else:
            index = tree(index, rng) if rng.random() < 0.5 else index
        text = [
            yaml.safe_dump(part, allow_unicode=True).encode('utf-8', 'surrogatepass')
            for part in (index, meta)
        ]
        if i % 3 == 2 and rng.random() < 0.7:
            text[rng.randrange(2)] = data(text[0], rng)
        (root / 'model-index.yml').write_bytes(text[0])
        (root / 'meta.yml').write_bytes(text[1])
        yield Case(f'zoo {root}', lambda root=root, run=run: use(root, run))


def checkpoints(rng, folder, count):
    """Checkpoint files; one that is read is loaded into a network."""
    from mmengine.config import Config

    from mmrazor_byot.checkpoint import load_from_local
    from mmrazor_byot.models.loading import load_weights

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    good = dict(
        state_dict=network.state_dict(), meta=dict(epoch=1, dataset_meta=dict(classes=['a']))
    )
    cfg = Config(dict(model=dict(type='x')))
    values = (
        torch.zeros(1), torch.full((4,), torch.nan), torch.zeros(4, dtype=torch.long), np.zeros(4),
        torch.zeros(4, dtype=torch.complex64), torch.zeros(0), torch.nn.Linear(1, 1), np.float16(1), set,
    )  # fmt: skip

    def use(path):
        load_from_local(str(path))
        load_weights(network, cfg, str(path))
        assert all(torch.isfinite(value).all() for value in network.state_dict().values())

    for i in range(count):
        path = folder / f'{i}.pth'
        content = dict(good, state_dict=dict(good['state_dict']))
        if i % 2:
            key = rng.choice(list(content['state_dict']))
            content['state_dict'][key] = rng.choice(values)
            if rng.random() < 0.5:
                content = tree(content, rng)
        torch.save(content, path)
        if i % 2 == 0:
            path.write_bytes(data(path.read_bytes(), rng))
        yield Case(f'checkpoint {path}', lambda path=path: call(use, path))
    (folder / os.path.basename(WEIGHTS)).write_bytes(data(WEIGHTS.read_bytes(), rng))
    name = str(folder / os.path.basename(WEIGHTS))
    yield Case('hash in the name', lambda: call(load_from_local, name), wrong=True)


def runtime(rng, folder, count, exported):
    """Exported files, their metadata, and what a network is called with."""
    import onnx

    from mmrazor_byot.runtime import EarlyExitModel
    from mmrazor_byot.runtime.metadata import Metadata, append_sha256

    whole = exported.read_bytes()
    model = EarlyExitModel(exported, 1)
    proto = onnx.load_from_string(whole)
    props = {entry.key: entry.value for entry in proto.metadata_props if entry.key != 'sha256'}
    small = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node('Identity', ['image'], ['scores'])],
            'g',
            [onnx.helper.make_tensor_value_info('image', 2, ['N', 32, 32, 3])],
            [onnx.helper.make_tensor_value_info('scores', 2, ['N', 32, 32, 3])],
        ),
        opset_imports=[onnx.helper.make_opsetid('', 18)],
        ir_version=8,
    )
    images = (
        np.zeros((2, 32, 32, 3), np.uint8), np.zeros((0, 32, 32, 3), np.uint8), np.zeros(3), None, [],
        np.zeros((2, 32, 32, 3)), np.zeros((2, 3, 32, 32), np.uint8), 'x', np.array(None),
    )  # fmt: skip

    def load(path):
        loaded = EarlyExitModel(path, 1)
        loaded.metadata.exit_numbers  # noqa: B018
        return loaded.metadata

    for i in range(count):
        path = folder / f'{i}.onnx'
        if i % 4 == 0:
            path.write_bytes(data(whole, rng))
            yield Case(f'runtime {path}', lambda path=path: call(load, path), wrong=True)
        elif i % 4 == 1:
            args = rng.choice(images), rng.choice([*WEIRD, [0.5] * 3, 0.5])
            yield Case(f'model{args!r:.200}', lambda args=args: call(model, *args))
        elif i % 4 == 2:
            number = rng.choice([*WEIRD, 1, 4, 5])
            run = lambda number=number: call(model.stop_at, number)  # noqa: E731
            yield Case(f'stop_at({number!r:.100})', run)
        else:
            kinds = {field.name: field.type for field in dataclasses.fields(Metadata)}
            fields = {
                k: json.loads(v) if kinds.get(k, str) is not str else v for k, v in props.items()
            }
            fields = tree(fields, rng)
            del small.metadata_props[:]
            for key, value in fields.items():
                value = value if isinstance(value, str) else json.dumps(value)
                small.metadata_props.add(
                    key=str(key), value=value.encode('utf-8', 'replace').decode()
                )
            path.write_bytes(append_sha256(small.SerializeToString()))
            yield Case(f'metadata {path}', lambda path=path: call(load, path))


def images(rng, folder, count):
    """Image files, their bytes and arrays, as the inferencer and the runtime read them."""
    from mmrazor_byot.runtime.images import list_sources, read_image
    from mmrazor_byot.runtime.resize import prepare

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8))
    kinds = ('PNG', 'JPEG', 'BMP', 'GIF', 'TIFF', 'PPM', 'WEBP')
    arrays = (
        np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8), np.zeros((8, 8, 2), np.uint8), 7, None, [],
        [None], [[]], {}, 'no such', b'x', np.zeros((8, 8), np.uint8), np.zeros(8, np.uint8), ['', 'a\0b'],
        np.array('x'), np.zeros((8, 8, 3, 1), np.uint8), '/dev/null', str(folder), 'a' * 5000, '~nouser',
    )  # fmt: skip

    def use(path):
        for source in list_sources(path, 'BGR'):
            image = read_image(source, 10**6)
            assert image.dtype == np.uint8 and image.shape[2] == 3
            prepare(image, [], [32, 32])

    for i in range(count):
        if i % 10 == 9:
            value = rng.choice(arrays)
            yield Case(f'image {value!r:.100}', lambda value=value: call(use, value))
            continue
        kind, file = kinds[i % 7], io.BytesIO()
        mode = rng.choice(['RGB', 'RGB', 'L', 'RGBA' if kind in ('PNG', 'TIFF') else 'RGB'])
        picture.convert(mode).save(file, kind)
        path = folder / f'{i}.{kind.lower()}'
        path.write_bytes(data(file.getvalue(), rng))
        source = str(path) if i % 2 else path.read_bytes()
        yield Case(f'image {path}', lambda source=source: call(use, source))
