"""Kept feature maps stand for the images of a frozen network."""

import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from small import AFTER, SIZE, Small, images, labelled, trained
from torch.utils.data import DataLoader, Dataset, TensorDataset

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.exits import LogitLoss, SectionOutput, add_exits, keep_maps

FLOATS = 8 * 16 * 16 + 16 * 8 * 8 + 32 + 5  # of an image's maps, feature and logits


@pytest.fixture
def model():
    return add_exits(trained(), AFTER, SIZE, freeze=True)


def loader(n=10, batch_size=4, labels=True):
    x, y = labelled(n, 3)
    return DataLoader(TensorDataset(x, y) if labels else Images(x), batch_size)


class Images(Dataset):
    """Images without labels."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i]


class Views(Images):
    """Each time that an image is read it is brighter by one."""

    def __init__(self, n):
        super().__init__(images(n))
        self.seen = [0] * n

    def __getitem__(self, i):
        self.seen[i] += 1
        return self.x[i] + (self.seen[i] - 1), i


def gradients(model, inputs, target):
    model.zero_grad()
    terms = model.loss(inputs, target)
    sum(terms.values()).backward()
    return terms, [p.grad.clone() for p in model.exit_heads.parameters()]


@pytest.mark.parametrize('place', ['memory', 'folder'])
def test_the_loss_and_gradients_are_those_of_the_images(place, model, tmp_path):
    folder = None if place == 'memory' else tmp_path / 'new'
    before = model.training
    kept = keep_maps(model, loader(), folder=folder)
    assert model.training is before and len(kept) == 10
    model.eval()  # batch norm of the heads would see each batch once more
    x, y = labelled(10, 3)
    maps, target = kept.__getitems__([3, 7, 0])
    assert torch.equal(target, y[[3, 7, 0]])
    terms, own = gradients(model, maps, target)
    expected, theirs = gradients(model, x[[3, 7, 0]], target)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)
    for a, b in zip(own, theirs, strict=True):
        torch.testing.assert_close(a, b)
    if folder:
        assert os.listdir(folder) == []


def test_memory_and_folder_are_equal(model, tmp_path):
    pairs = zip(keep_maps(model, loader()).fields, keep_maps(model, loader(), 1, tmp_path).fields)
    for a, b in pairs:
        assert torch.equal(a, b)


def test_an_epoch_has_each_image_once(model):
    kept = keep_maps(model, loader())
    epochs = []
    for _ in range(2):
        batches = list(kept.loader(4))
        assert [len(target) for _, target in batches] == [4, 4, 2]
        rows = torch.cat([maps.feature for maps, _ in batches])
        for maps, target in batches:
            for row, label in zip(maps.feature, target):
                (i,) = (kept.fields[2] == row).all(1).nonzero().flatten().tolist()
                assert kept.target[i] == label
        epochs.append(rows)
    assert not torch.equal(*epochs)
    assert torch.equal(*(rows.sort(0)[0] for rows in epochs))


def test_one_image(model):
    kept = keep_maps(model, loader(1))
    (maps, target), x = kept[0], labelled(1, 3)[0]
    expected = model.forward_sections(x)
    assert torch.equal(maps.logits, expected.logits) and target.tolist() == [0]
    assert [a.shape for a in maps.maps] == [a.shape for a in expected.maps]


def test_images_alone(model):
    model = add_exits(trained(), AFTER, SIZE, freeze=True, label_loss=None)
    kept = keep_maps(model, loader(labels=False))
    for maps, target in kept.loader(5):
        assert target is None
        assert list(model.loss(maps)) == [
            f'exit{i}.{name}_loss' for i in (1, 2) for name in ('logit', 'hint')
        ]


def test_a_batch_is_prepared(model):
    def prepare(batch):
        x, y = batch
        return x / 2, y + 1

    kept = keep_maps(model, loader(), prepare=prepare)
    x, y = labelled(10, 3)
    assert torch.equal(kept.target, y + 1)
    torch.testing.assert_close(kept.fields[-1], model.forward_sections(x / 2).logits)


def test_views(model):
    """An epoch draws one view of each image."""
    data = Views(6)
    kept = keep_maps(model, DataLoader(data, 4), views=3)
    assert data.seen == [3] * 6 and len(kept) == 6 and kept.fields[0].shape[0] == 18
    expected = [model.forward_sections(data.x + view).logits for view in range(3)]
    drawn = torch.zeros(3, 6)
    for _ in range(30):
        count = 0
        for maps, target in kept.loader(4):
            for logits, i in zip(maps.logits, target):
                near = [torch.allclose(logits, rows[i], atol=1e-5) for rows in expected]
                assert sum(near) == 1
                drawn[near.index(True), i] += 1
                count += 1
        assert count == 6
    assert drawn.sum(0).tolist() == [30] * 6
    assert drawn.min() >= 2  # 10 are expected; 1 or less in 18 draws has a chance of 1 in 1,000


def test_half_precision(model, capsys):
    whole, half = keep_maps(model, loader()), keep_maps(model, loader(), dtype=torch.float16)
    assert {field.dtype for field in half.fields} == {torch.float16}
    maps, _ = half[0]
    assert {x.dtype for x in (*maps.maps, maps.feature, maps.logits)} == {torch.float32}
    for a, b in zip(half.fields, whole.fields):
        assert torch.equal(a, b.half())


def test_of_a_network_in_double_precision():
    model = add_exits(trained().double(), AFTER, SIZE, freeze=True)
    x, y = labelled(4, 3)
    kept = keep_maps(model, DataLoader(TensorDataset(x.double(), y), 2))
    maps, target = kept.__getitems__([0, 1])
    sum(model.loss(maps, target).values()).backward()
    assert model.exit_heads[0].fc.weight.grad.dtype == torch.float64
    assert maps.to(torch.float32).maps[1].dtype == torch.float32


@pytest.mark.parametrize('place', ['memory', 'folder'])
@pytest.mark.parametrize('dtype, size', [(None, 4), (torch.float16, 2)])
def test_the_size_is_said_before(place, dtype, size, model, tmp_path, capsys, monkeypatch):
    """And what does not fit is refused."""
    needed = 3 * 10 * FLOATS * size
    folder = None if place == 'memory' else tmp_path / 'maps'
    for free in (needed, needed - 1):
        disk = lambda path, free=free: SimpleNamespace(free=free)  # noqa: E731
        monkeypatch.setattr(shutil, 'disk_usage', disk)
        sizes = dict(SC_PHYS_PAGES=free, SC_PAGE_SIZE=1)
        monkeypatch.setattr(os, 'sysconf', sizes.get)
        call = lambda: keep_maps(model, loader(), 3, folder, dtype)  # noqa: E731
        if free == needed:
            call()
            where = f'"{folder}"' if folder else 'memory'
            assert capsys.readouterr().out == (
                f'feature maps of 10 images in 3 views: 0.00 GB in {where}\n'
            )
        else:
            with pytest.raises(ConfigError, match='10 images in 3 views.*which has 0.00 GB: keep'):
                call()
            assert capsys.readouterr().out == ''
            if folder:
                assert os.listdir(folder) == []


def test_a_disk_that_is_full_after_all(model, tmp_path, monkeypatch):
    """Another process can have been faster."""

    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(ConfigError, match='cannot keep the feature maps .*No space left on device'):
        keep_maps(model, loader(), folder=tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be(model, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='file'):
        keep_maps(model, loader(), folder=tmp_path / 'file')


@pytest.mark.parametrize(
    'settings, part',
    [
        (dict(views=0), 'views=0; an integer'),
        (dict(views=1.5), 'views=1.5; an integer'),
        (dict(dtype='float16'), "dtype='float16'; a floating point type"),
        (dict(dtype=torch.int8), 'dtype=torch.int8; a floating point type'),
        (dict(loader=DataLoader(images(6), 2, shuffle=True), views=2), 'shuffle=False'),
        (dict(loader=[]), 'the loader has no images'),
        (dict(loader=DataLoader(images(6), 7, drop_last=True)), 'the loader has no images'),
        (dict(loader=DataLoader(images(6) * 1e30, 2), dtype=torch.float16), 'float16 cannot hold'),
    ],
)
def test_refused(settings, part, model):
    with pytest.raises(ConfigError) as caught:
        keep_maps(model, **{'loader': loader(), **settings})
    assert part in str(caught.value) and '\n' not in str(caught.value)


def test_a_network_that_is_trained():
    model = add_exits(Small(), AFTER, SIZE)
    with pytest.raises(ConfigError, match='the network is trained, so its maps change'):
        keep_maps(model, loader())


def test_the_exits_learn_from_them():
    """As from the images, to rounding."""
    found = []
    for use_maps in (True, False):
        torch.manual_seed(0)
        settings = dict(freeze=True, label_loss=None, logit_loss=LogitLoss(2), hint_loss=None)
        model = add_exits(trained(), AFTER, SIZE, **settings)
        x, _ = labelled(80, 1)
        whole = keep_maps(model, DataLoader(Images(x), 16)) if use_maps else None
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        model.train()
        for step in range(20):
            rows = torch.arange(16) + step % 5 * 16
            inputs = whole.__getitems__(rows.tolist())[0] if use_maps else x[rows]
            assert isinstance(inputs, SectionOutput) == use_maps
            optimizer.zero_grad()
            loss = sum(model.loss(inputs).values())
            loss.backward()
            optimizer.step()
        found.append(loss.item())
    assert found[0] == pytest.approx(found[1], rel=1e-3)
