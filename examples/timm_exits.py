"""Add exits to a network of timm, train it on handwritten digits, and let it stop early.

    python examples/timm_exits.py --epochs 5

Here the network learns together with its exits. To add exits to a trained network, load its weights
and set ``freeze=True`` in ``add_exits``: then only the exits learn (docs/retrofit.md).
"""

import argparse
from functools import partial

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

from mmrazor_byot.calibration import calibrate_network
from mmrazor_byot.exits import BottleneckHead, add_exits
from mmrazor_byot.export.export_network import export_network
from mmrazor_byot.runtime import EarlyExitModel

SIZE = 32


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 digits, enlarged: (M, 32, 32, 3) uint8 RGB, and their classes (M,)."""
    data = load_digits()
    pixels = (data.images * (255 / 16)).round().astype(np.uint8)
    images = [Image.fromarray(image).convert('RGB').resize((SIZE, SIZE)) for image in pixels]
    return np.stack(images), data.target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--epochs', type=int, default=5)
    parser.add_argument('--out', default='digits.onnx', help='the exported file')
    args = parser.parse_args()
    torch.manual_seed(0)

    images, labels = digits()
    transform = timm.data.create_transform(SIZE, crop_pct=1, mean=(0.3,) * 3, std=(0.3,) * 3)
    inputs = torch.stack([transform(Image.fromarray(image)) for image in images])
    train, rest = train_test_split(range(len(labels)), train_size=960, random_state=0)
    held_out, test = rest[:300], rest[300:]

    def loader(chosen: list[int], shuffle: bool = False) -> DataLoader:
        data = TensorDataset(inputs[chosen], torch.from_numpy(labels[chosen]))
        return DataLoader(data, batch_size=64, shuffle=shuffle)

    net = timm.create_model(  # narrow, so that it trains in seconds
        'resnet10t', num_classes=10, channels=(16, 32, 64, 128), stem_width=8
    )
    model = add_exits(
        net,
        after=['layer1', 'layer2', 'layer3'],  # as in net.named_modules()
        input_size=SIZE,
        exit_head=partial(BottleneckHead, reduction=32),  # narrow, too
    )

    batches = loader(train, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(batches))
    for epoch in range(1, args.epochs + 1):
        for x, target in batches:
            loss = sum(model.train()(x, target).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        print(f'epoch {epoch}: loss of the last batch {loss.item():.2f}')

    calibration = calibrate_network(model, loader(held_out), max_drop=0.5)
    print(calibration)
    policy, tested = calibration.file, dict(images=images[test], labels=labels[test])
    print(export_network(model, args.out, transform, policy, **tested))
    file = EarlyExitModel(args.out)  # needs ONNX Runtime alone
    for result in file.classify(list(images[test[:3]]), channel_order='RGB'):
        print(result)


if __name__ == '__main__':
    main()
