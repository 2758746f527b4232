"""Small modules that StagedNetwork takes for networks with exits."""

from types import SimpleNamespace

import torch
from torch import nn


class Toy(nn.Module):
    """Its exits are what a function makes of a map.

    Args:
        exits: Called with the module and the map (N, 4, 8, 8) of a 1 x 1 convolution of the image;
            returns the logits.
        count (int): How many logits.
    """

    input_size = (3, 8, 8)
    num_classes = 5

    def __init__(self, exits, count: int = 2) -> None:
        super().__init__()
        self.exits, self.num_exits = exits, count
        self.stem = nn.Conv2d(3, 4, 1)
        self.more = nn.Conv2d(4, 4, 3, padding=1)
        self.linears = nn.ModuleList(nn.Linear(4, 5) for _ in range(count))
        self.register_buffer('scale', torch.tensor([1.0, 2, 3, 4]))
        self.architecture = SimpleNamespace(backbone=self)

    def forward(self, images, mode='tensor'):
        return self.exits(self, self.stem(images))

    def classify(self, number, feature_map):
        """Logits of exit ``number`` from a map (N, 4, H, W)."""
        return self.linears[number - 1](feature_map.mean((2, 3)))


def several_cross(toy, x):
    y = toy.more(x).relu()
    return toy.classify(1, x + y), toy.classify(2, (x - y) * x.exp())


def only_parts_of_a_tuple_cross(toy, x):
    left, middle, right = torch.split(toy.more(x), (1, 1, 2), dim=1)
    values, _ = torch.cat([left, middle, right], 1).max(dim=2, keepdim=True)
    shallow = toy.classify(1, values)
    return shallow, toy.classify(2, torch.cat([right, left, middle], 1))


def constants_on_both_sides(toy, x):
    steps = torch.arange(4, dtype=x.dtype).view(4, 1, 1) + 1
    y = x * steps
    return (toy.classify(1, y.relu()), toy.classify(2, y.tanh() * steps * toy.scale.view(4, 1, 1)))


def size_taken_from_the_images(toy, x):
    count = x.shape[0]
    y = x.reshape(count, 4, 64).transpose(1, 2).reshape(count * 64, 4)
    y = toy.linears[0](y).reshape(count, 64, 5).mean(1)
    z = x.relu().reshape(count, 2, 2, 64).mean(-1).reshape(count, 4)
    ramp = torch.ones(count, 4, dtype=x.dtype).cumsum(1)
    return y, toy.linears[1](z + ramp)


def exit_needs_a_shallower_answer(toy, x):
    shallow = toy.classify(1, x)
    return shallow, shallow + toy.classify(2, x.relu())


def exit_goes_back_before_the_last_one(toy, x):
    side = toy.more(x)
    return (toy.classify(1, side), toy.classify(2, x.relu()), toy.classify(3, side.relu() + x))


def changed_in_place(toy, x):
    shallow = toy.classify(1, x.abs())
    x += 1
    x[:, 0] = 7
    return shallow, toy.classify(2, x)


def batch_comes_last(toy, x):
    y = x.mean((2, 3)).t()
    return toy.linears[0](y.t()), toy.linears[1](y.t().relu())


def batch_of_two_comes_last(toy, x):
    """The front is 2, as many as there are images where it is traced."""
    y = x[:, :2].flatten(2).permute(1, 2, 0)
    z = y.mean(1).t().repeat(1, 2)
    return toy.linears[0](z), toy.linears[1](torch.cat([y, y]).amax(1).t())


def parts_of_images_cross(toy, x):
    y = x.reshape(-1, 4, 4, 8)
    return (
        toy.classify(1, y).reshape(-1, 2, 5).mean(1),
        toy.classify(2, y.relu()).reshape(-1, 2, 5).mean(1),
    )


def branches_on_the_image(toy, x):
    if x.sum() > 0:
        x = -x
    return toy.classify(1, x), toy.classify(2, x.relu())


def leaves_torch(toy, x):
    x = torch.from_numpy(x.detach().numpy().clip(0))
    return toy.classify(1, x), toy.classify(2, x.exp())


def fixes_the_batch(toy, x):
    y = x.mean((2, 3)).reshape(2, 4)
    return toy.linears[0](y), toy.linears[1](y.relu())


def fails_without_a_word(toy, x):
    raise AssertionError
