"""A transform that was read does what torchvision and timm do."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torchvision import transforms as T
from torchvision.models import EfficientNet_B0_Weights, ResNet18_Weights
from torchvision.transforms import InterpolationMode, v2

from mmrazor_byot.apis.transform import read_transform
from mmrazor_byot.errors import ByotError, ConfigError
from mmrazor_byot.runtime.resize import prepare

NORMALIZE = dict(mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
TRANSFORMS = {
    'weights': ResNet18_Weights.DEFAULT.transforms(),
    'bicubic weights': EfficientNet_B0_Weights.DEFAULT.transforms(),
    'timm': create_transform((3, 96, 96)),
    'timm bilinear': create_transform((3, 48, 48), interpolation='bilinear', crop_pct=0.9),
    'v1': T.Compose(
        [T.Resize(60), T.CenterCrop((40, 50)), T.PILToTensor(), T.ConvertImageDtype(torch.float32)]
    ),
    'v2': v2.Compose(
        [
            v2.Resize((40, 50), InterpolationMode.LANCZOS),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(**NORMALIZE),
        ]
    ),
    'not scaled': v2.Compose(
        [v2.Resize(30), v2.PILToTensor(), v2.ToDtype(torch.float32), v2.Normalize(**NORMALIZE)]
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', TRANSFORMS)
@pytest.mark.parametrize('size', [(300, 400), (257, 151), (40, 50)])
def test_pixels(name, size):
    image = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    expected = TRANSFORMS[name](Image.fromarray(image))
    read = read_transform(TRANSFORMS[name])
    pixels = prepare(image, read.steps, expected.shape[1:])
    found = read.preprocessing()(torch.from_numpy(pixels)[None])[0]
    scale = expected.abs().max().item()
    torch.testing.assert_close(found, torch.as_tensor(expected), rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize(
    'parts, message',
    [
        ([T.RandomResizedCrop(8), T.ToTensor()], 'RandomResizedCrop'),
        ([T.Resize(8, max_size=9), T.ToTensor()], 'Resize'),
        ([T.ToTensor(), T.CenterCrop(8)], 'CenterCrop'),
        ([T.ToTensor(), T.Normalize([0.5], [0.5])], 'Normalize'),
        ([T.ToTensor(), T.Lambda(lambda x: x * 2)], 'Lambda'),
        ([lambda x: x], 'function'),
        ([T.Resize(8)], 'does not end with a tensor'),
        ([], 'does not end with a tensor'),
        ([T.Resize(8, InterpolationMode.NEAREST_EXACT), T.ToTensor()], 'nearest-exact'),
    ],
)
def test_what_the_file_could_not_do_is_refused(parts, message):
    with pytest.raises(ByotError, match=message):
        read_transform(T.Compose(parts))


def test_any_callable_is_refused():
    with pytest.raises(ConfigError, match='function'):
        read_transform(lambda image: image)
