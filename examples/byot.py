"""Be Your Own Teacher in plain torch: torchvision's ResNet-18 learns handwritten digits.

    python examples/byot.py --epochs 10

arXiv 1905.08094, section 3: the network is cut into sections with an exit after each; all exits
learn from the labels, and from the deepest exit. ``mmrazor_byot.exits.add_exits`` does this for any
network, see timm_exits.py.
"""

import argparse

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

ALPHA, TEMPERATURE, LAMBDA = 0.3, 3.0, 0.03  # weights of the losses, as in the authors' code
ExitOutput = tuple[Tensor, Tensor]  # feature (N, D) and logits (N, K)


def conv(before: int, after: int, kernel: int) -> nn.Sequential:
    layer = nn.Conv2d(before, after, kernel, stride=kernel, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(after), nn.ReLU())


class ExitHead(nn.Module):
    """A bottleneck, global average pooling and a linear classifier (figure 2)."""

    def __init__(self, channels: int, downsample: int, num_classes: int, width: int = 512) -> None:
        super().__init__()
        middle = min(channels, width // 4)
        self.bottleneck = nn.Sequential(
            conv(channels, middle, 1), conv(middle, middle, downsample), conv(middle, width, 1)
        )
        self.fc = nn.Linear(width, num_classes)

    def forward(self, feature_map: Tensor) -> ExitOutput:
        feature = self.bottleneck(feature_map).mean(dim=(2, 3))
        return feature, self.fc(feature)


class ByotResNet18(nn.Module):
    """Four sections, an exit after each; the deepest exit is the network's own classifier."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        net = resnet18(num_classes=num_classes)
        net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)  # for small images
        first = nn.Sequential(net.conv1, net.bn1, net.relu, net.layer1)
        self.sections = nn.ModuleList([first, net.layer2, net.layer3, net.layer4])
        sizes = [(64, 8), (128, 4), (256, 2)]  # channels, and height over that of the deepest
        self.exits = nn.ModuleList(ExitHead(*size, num_classes) for size in sizes)
        self.fc = net.fc

    def deepest_exit(self, feature_map: Tensor) -> ExitOutput:
        feature = feature_map.mean(dim=(2, 3))
        return feature, self.fc(feature)

    def forward(self, images: Tensor) -> list[ExitOutput]:
        maps = [images]
        for section in self.sections:
            maps.append(section(maps[-1]))
        return [head(x) for head, x in zip([*self.exits, self.deepest_exit], maps[1:])]


def byot_loss(outputs: list[ExitOutput], target: Tensor) -> Tensor:
    """The loss of section 3.2: the labels, the teacher's softmax, the teacher's feature."""
    *shallow, (feature, logits) = outputs
    loss = F.cross_entropy(logits, target)
    teacher_feature, teacher_logits = feature.detach(), logits.detach()
    for feature, logits in shallow:
        label_loss = F.cross_entropy(logits, target)
        log_p = F.log_softmax(logits / TEMPERATURE, dim=1)
        teacher_p = F.softmax(teacher_logits / TEMPERATURE, dim=1)
        logit_loss = TEMPERATURE**2 * F.kl_div(log_p, teacher_p, reduction='batchmean')
        hint_loss = (feature - teacher_feature).square().sum(dim=1).mean()
        loss = loss + (1 - ALPHA) * label_loss + ALPHA * logit_loss + LAMBDA * hint_loss
    return loss


def digits(batch_size: int) -> tuple[DataLoader, DataLoader]:
    """scikit-learn's digits, (N, 3, 8, 8): two thirds to train on, one third to test on."""
    data = load_digits()
    images = torch.tensor(data.images / 16 - 0.3, dtype=torch.float32)[:, None].repeat(1, 3, 1, 1)
    whole = TensorDataset(images, torch.tensor(data.target))
    train, test = train_test_split(whole, test_size=1 / 3, random_state=0, stratify=data.target)
    return DataLoader(train, batch_size, shuffle=True), DataLoader(test, 256)


@torch.no_grad()
def accuracy(model: nn.Module, loader: DataLoader) -> list[float]:
    """Top-1 in percent of each exit, and of the ensemble: the mean of their softmax."""
    scores = [torch.stack([z.softmax(1) for _, z in model(images)]) for images, _ in loader]
    exits, target = torch.cat(scores, dim=1), torch.cat([labels for _, labels in loader])
    answers = [*exits, exits.mean(dim=0)]
    return [100 * (z.argmax(1) == target).float().mean().item() for z in answers]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--epochs', type=int, default=10)
    epochs = parser.parse_args().epochs
    torch.manual_seed(0)
    model, (train, test) = ByotResNet18(num_classes=10), digits(batch_size=64)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, epochs * len(train))
    for epoch in range(1, epochs + 1):
        for images, target in train:
            optimizer.zero_grad()
            byot_loss(model.train()(images), target).backward()
            optimizer.step()
            scheduler.step()
        top1 = [round(x, 2) for x in accuracy(model.eval(), test)]
        print(f'epoch {epoch}: top-1 (%) of exit 1 to 4 and of the ensemble {top1}')


if __name__ == '__main__':
    main()
