"""mmpretrain's inferencer says of an exported classifier what ours says of the network."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmpretrain import ImageClassificationInferencer
from recipes import load
from run import WEIGHTS

from mmrazor_byot.apis import ByotInferencer
from mmrazor_byot.datasets import BGRImages, Digits
from mmrazor_byot.early_exit import FixedExitPolicy
from mmrazor_byot.export.classifier import export_classifier
from mmrazor_byot.registry import MODELS

TINT = np.array([1.0, 0.6, 0.2])


def pictures(folder):
    """A digit in several sizes, and tinted; its class is 0."""
    digits = Digits(split='test')
    digits.full_init()
    zero = digits.images[np.flatnonzero(digits.labels == 0)[0]]
    files = []
    for i, (height, width) in enumerate([(256, 256), (32, 32), (90, 70), (20, 25), (31, 320)]):
        for name, colors in (('gray', 1), ('tinted', TINT)):
            image = cv2.resize(zero, (width, height), interpolation=cv2.INTER_CUBIC) * colors
            files.append(str(folder / f'{i}_{name}.png'))
            cv2.imwrite(files[-1], image.astype(np.uint8)[..., ::-1])
    return files


def both(cfg, checkpoint, exit_number, folder, files):
    """Results of mmpretrain's inferencer and of ours."""
    done = export_classifier(cfg, checkpoint, folder / 'out', exit_number)
    theirs = ImageClassificationInferencer(
        str(done.config), pretrained=str(done.checkpoint), device='cpu'
    )
    ours = ByotInferencer(
        cfg, checkpoint, 'cpu', policy=FixedExitPolicy(exit_number), show_progress=False
    )
    return theirs(files), ours(files)


def assert_equal(theirs, ours):
    for a, b in zip(theirs, ours):
        np.testing.assert_allclose(a['pred_scores'], b['pred_scores'], atol=1e-5)
        assert a['pred_label'] == b['pred_label']
    assert len(theirs) == len(ours)


@pytest.mark.parametrize('name', ['byot_resnet18_2xb64_digits', 'byot_resnet18-fast_2xb64_digits'])
@pytest.mark.parametrize('exit_number', [1, 4])
def test_digits(tmp_path, name, exit_number):
    files = pictures(tmp_path)
    theirs, ours = both(load(name), str(WEIGHTS), exit_number, tmp_path, files)
    assert_equal(theirs, ours)
    assert theirs[0]['pred_label'] == theirs[1]['pred_label'] == 0  # 256 x 256, gray and tinted
    assert theirs[0]['pred_class'] == '0' and theirs[0]['pred_score'] > 0.9


def sensitive(cfg):
    """A network with random weights whose scores depend on the image."""
    model = MODELS.build(cfg.model)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight)
    small = torch.randn(8, 3, 4, 4)
    model.train()(torch.nn.functional.interpolate(small, model.input_size[1:], mode='bilinear'))
    return model


@pytest.mark.parametrize('name', ['byot_resnet18_8xb16_cifar100', 'byot_resnet18_8xb32_in1k'])
def test_random_weights(tmp_path, name):
    """CIFAR-100 is in memory and RGB, ImageNet in files."""
    cfg = load(name)
    cfg.model.architecture.backbone.base_channels = 4
    cfg.model.architecture.backbone.stem_channels = 4
    cfg.model.architecture.head.update(in_channels=None, num_classes=5, topk=1)
    checkpoint = str(tmp_path / 'net.pth')
    torch.save(dict(state_dict=sensitive(cfg).state_dict(), meta={}), checkpoint)
    files = pictures(tmp_path)
    for exit_number in (2, 4):
        theirs, ours = both(cfg, checkpoint, exit_number, tmp_path, files)
        assert_equal(theirs, ours)
        difference = theirs[0]['pred_scores'] - theirs[1]['pred_scores']
        assert np.abs(difference).max() > 1e-2  # it sees colors


def test_the_test_data_are_the_same(tmp_path):
    """They are BGR in the pipeline, and RGB again for the network."""
    cfg = load('byot_resnet18_2xb64_digits')
    done = export_classifier(cfg, str(WEIGHTS), tmp_path)
    exported = type(cfg).fromfile(done.config)
    assert exported.data_preprocessor.to_rgb
    dataset = exported.test_dataloader.dataset
    assert dataset.type == 'mmrazor_byot.BGRImages'
    assert [step.type for step in dataset.pipeline] == ['Resize', 'PackInputs']
    colors = Digits(split='test', indices=3)
    colors.images = (colors.images * TINT).astype(np.uint8)
    data = BGRImages(colors, dataset.pipeline)
    loader = Runner.build_dataloader(dict(exported.test_dataloader, dataset=data))
    batch = next(iter(loader))
    expected = torch.from_numpy(colors.images).permute(0, 3, 1, 2).flip(1)
    assert torch.equal(torch.stack(list(batch['inputs'])), expected)
    assert data.get_gt_labels().tolist() == colors.labels.tolist()
    assert data.metainfo['classes'] == tuple('0123456789')
