"""A network of three sections in plain torch, small enough for any test."""

import copy
import functools

import torch
import torch.nn.functional as F
from torch import nn

#: Names of the modules after which its first two sections end.
AFTER = ['first', 'second']
SIZE = 16


class Small(nn.Module):
    """Maps of 8 x 16 x 16, 16 x 8 x 8 and 32 x 4 x 4; 5 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(32, 5)  # before the others, which run before it
        self.first = block(3, 8, 1)
        self.second = block(8, 16, 2)
        self.gate = nn.Linear(16, 16)
        self.third = block(16, 32, 2)
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, images):
        x = self.second(self.first(images))
        x = x * self.gate(x.mean((2, 3))).sigmoid()[..., None, None]
        return self.fc(self.third(x).mean((2, 3)))


def block(before, after, stride):
    conv = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def images(n=6, size=SIZE):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def target(n=6):
    return torch.arange(n) % 5


def paper_loss(outputs, labels, alpha=0.3, temperature=3.0, weight=0.03):
    """The loss of section 3.2 for (feature, logits) of each exit, by its definition."""
    *shallow, (deep_feature, deep_logits) = outputs
    loss = F.cross_entropy(deep_logits, labels)
    p = (deep_logits.detach() / temperature).softmax(1)
    for feature, logits in shallow:
        q = (logits / temperature).softmax(1)
        divergence = (p * (p / q).log()).sum(1).mean()
        hint = ((feature - deep_feature.detach()) ** 2).sum(1).mean()
        loss = loss + (1 - alpha) * F.cross_entropy(logits, labels)
        loss = loss + alpha * temperature**2 * divergence + weight * hint
    return loss


def labelled(n, seed):
    """Images of one pattern a class in noise, and their labels."""
    patterns = torch.randn(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return 0.7 * patterns[target(n)] + noise, target(n)


def trained():
    """A network that knows the patterns."""
    return copy.deepcopy(_trained())


@functools.cache
def _trained():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, (x, y) = Small(), labelled(80, 1)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(20):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return net
