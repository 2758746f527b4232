"""A recipe whose data come in batched data is used like one of single images."""

import pytest
from cut_classifiers import save_weights
from mmengine.config import Config
from recipes import load

from mmrazor_byot.apis.image_pipeline import data_transforms
from mmrazor_byot.datasets import network_order
from mmrazor_byot.export.classifier import export_classifier
from mmrazor_byot.export.preprocessing import resize_steps


@pytest.mark.parametrize('recipe', ['2xb64_digits', '1xb128_cifar100', '2xb64_tin32-small'])
def test_single_images_are_shown_as_ever(recipe):
    fast = load(f'byot_resnet18-fast_{recipe}')
    slow = load(f'byot_resnet18_{recipe.replace("1xb128", "8xb16")}')
    assert network_order(fast) == network_order(slow) == 'RGB'
    transforms = data_transforms(fast)
    assert resize_steps(transforms) == []
    assert (
        [t['type'].split('.')[-1] for t in transforms]
        == [t['type'] for t in data_transforms(slow)]
        == ['PackInputs']
    )


def test_the_student_needs_nothing_of_ours(tmp_path):
    written = []
    for name in ('byot_resnet18-fast_1xb128_cifar100', 'byot_resnet18_8xb16_cifar100'):
        cfg = load(name)
        cfg.model.architecture.backbone.update(base_channels=4, stem_channels=4)
        _, checkpoint = save_weights(Config(dict(model=cfg.model)), tmp_path / 'epoch_250.pth')
        done = export_classifier(cfg, checkpoint, tmp_path / name)
        # Only the test data: images in memory are RGB, but mmpretrain's inferencer reads BGR.
        text = done.config.read_text()
        assert 'mmrazor' not in text.replace('mmrazor_byot.BGRImages', '', 1)
        written.append(Config.fromfile(done.config))
    fast, slow = written
    assert fast.model == slow.model
    assert fast.data_preprocessor == slow.data_preprocessor
    assert fast.test_evaluator == slow.test_evaluator == dict(type='Accuracy', topk=(1, 5))
    assert slow.model.head.in_channels == 32
    for cfg in written:
        for step in cfg.test_dataloader.dataset.pipeline:
            step.type = step.type.removeprefix('mmpretrain.')
    dataset = slow.test_dataloader.dataset
    assert fast.test_dataloader.dataset == dataset
    assert (dataset.dataset.type, dataset.dataset.split) == ('CIFAR100', 'test')
