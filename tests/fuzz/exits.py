"""Surfaces of networks with exits: what add_exits, keep_maps and BYOT of any network are given."""

import copy

import torch
from command import Case, call
from mutate import WEIRD, data, tree
from torch import nn

from mmrazor_byot.exits import (
    BottleneckHead,
    LabelLoss,
    LogitLoss,
    StridedHead,
    add_exits,
    keep_maps,
)


class Small(nn.Sequential):
    """A classifier of 5 classes; the modules that sections can end with are 0 and 1."""

    def __init__(self, channels: int = 4):
        convolutions = (
            nn.Conv2d(3, channels, 3),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 6, 3, 2),
        )
        super().__init__(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


def plain_exits(rng, folder, count):
    """Arguments of add_exits and keep_maps; a network that is built answers and learns."""
    good = dict(
        after=['0', '1'], input_size=[3, 16, 16], exit_head=[BottleneckHead, StridedHead],
        label_loss=LabelLoss(), logit_loss=LogitLoss(), hint_loss=None,
    )  # fmt: skip
    maps = dict(views=1, folder=str(folder / 'maps'), dtype=torch.float16)
    images, target = torch.randn(4, 3, 16, 16), torch.arange(4)
    loader = torch.utils.data.DataLoader(images, 2)

    def use(settings, places):
        model = add_exits(Small(), freeze=True, **settings)
        if model.input_size == (3, 16, 16):
            sum(model.loss(images, target).values())
        kept = keep_maps(model, loader, **places)
        model.loss(kept[0][0], target[:1])

    for i in range(count):
        settings, places = (tree(good, rng), maps) if i % 3 else (good, tree(maps, rng))
        settings = {key: settings.get(key, value) for key, value in good.items()}
        places = {key: value for key, value in places.items() if key in maps}
        run = lambda s=settings, p=places: call(use, s, p)  # noqa: E731
        yield Case(f'add_exits {settings!r:.200} {places!r}', run)


def pretrained(rng, folder, count):
    """Configs of BYOT around any network, and the checkpoint that it begins with."""
    from mmengine.registry import init_default_scope

    from mmrazor_byot.config_errors import config_errors
    from mmrazor_byot.launch import only_warnings
    from mmrazor_byot.registry import MODELS

    network = Small()
    path = folder / 'whole.pth'
    torch.save(dict(state_dict=network.state_dict()), path)
    good = dict(
        type='mmrazor_byot.TorchClassifier', network=dict(type=f'{__name__}.Small', channels=4),
        after=['0'], loss=dict(type='mmpretrain.CrossEntropyLoss'),
        init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='', map_location='cpu'),
    )  # fmt: skip

    def use(architecture):
        init_default_scope('mmpretrain')
        only_warnings()
        with config_errors():
            cfg = dict(type='mmrazor_byot.BYOT', architecture=architecture, input_size=16)
            model = MODELS.build(dict(cfg, freeze_architecture=True))
            model.init_weights()
            model(torch.zeros(2, 3, 16, 16))

    for i in range(count):
        architecture = copy.deepcopy(good)
        if i % 3 == 0:
            broken = folder / f'{i}.pth'
            state = dict(network.state_dict())
            key = rng.choice(list(state))
            state[key] = rng.choice([torch.zeros(1), *WEIRD])
            torch.save(
                rng.choice([state, dict(model=state), dict(state_dict=tree(state, rng))]), broken
            )
            if rng.random() < 0.5:
                broken.write_bytes(data(path.read_bytes(), rng))
            architecture['init_cfg']['checkpoint'] = str(broken)
        else:
            key = rng.choice(['network', 'init_cfg', 'after', 'loss'])
            architecture.update(tree({key: architecture[key]}, rng))
        run = lambda architecture=architecture: call(use, architecture)  # noqa: E731
        yield Case(f'pretrained {architecture!r:.300}', run)
