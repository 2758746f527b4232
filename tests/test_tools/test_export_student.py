"""A classifier for mmpretrain: the full network or a cut one, with the same logits."""

import hashlib

import mmpretrain
import pytest
import torch
from cut_classifiers import BACKBONES, logits, save_weights, write_config
from mmengine.config import Config
from mmpretrain import get_model
from run import RECIPES
from torch import nn

from mmrazor_byot.errors import CheckpointError, ConfigError
from mmrazor_byot.evaluation import exit_complexity
from mmrazor_byot.export.classifier import export_classifier
from mmrazor_byot.registry import MODELS


@pytest.mark.parametrize('name', BACKBONES)
def test_every_exit_bit_for_bit(tmp_path, name):
    cfg = write_config(tmp_path / f'{name}.py', BACKBONES[name])
    model, checkpoint = save_weights(cfg, tmp_path / 'epoch_3.pth')
    images = torch.randn(4, 3, 32, 32)
    expected = logits(model, images)
    costs = exit_complexity(model, (3, 32, 32))
    for i in range(1, model.num_exits + 1):
        done = export_classifier(cfg, checkpoint, tmp_path / 'out', i)
        cut = get_model(str(done.config), pretrained=str(done.checkpoint))
        assert torch.equal(logits(cut, images), expected[i - 1])
        assert cut._dataset_meta == dict(classes=tuple('abcde'))
        # Nothing is in the file that the exit does not need.
        params = sum(p.numel() for p in cut.parameters())
        assert params == done.params == costs[i - 1]['params']
        saved = torch.load(done.checkpoint, weights_only=True)
        assert saved['state_dict'].keys() == cut.state_dict().keys()
        assert cut.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]


def test_the_file_is_ready_to_publish(resnet, tmp_path):
    cfg, _, checkpoint = resnet
    done = export_classifier(cfg, checkpoint, tmp_path / 'out', 2)
    assert sorted((tmp_path / 'out').iterdir()) == sorted(done[:2])
    digest = hashlib.sha256(done.checkpoint.read_bytes()).hexdigest()
    assert done.checkpoint.name == f'resnet_exit2-{digest[:8]}.pth'
    saved = torch.load(done.checkpoint, weights_only=True)
    assert saved.keys() == {'meta', 'state_dict'}
    meta = saved['meta']
    assert meta['dataset_meta'] == dict(classes=tuple('abcde'))
    assert (meta['exit'], meta['config']) == ('2/4', 'resnet.py')
    assert meta['mmpretrain_version'] == mmpretrain.__version__
    # The same weights have the same hash, and writing them again is fine.
    assert export_classifier(cfg, checkpoint, tmp_path / 'out', 2) == done
    for number in (0, 5):
        with pytest.raises(ConfigError, match='has the exits 1 to 4'):
            export_classifier(cfg, checkpoint, tmp_path / 'out', number)


@pytest.mark.parametrize('precision', ['half', 'float'])
def test_the_precision_stays_as_it_was(resnet, tmp_path, precision):
    cfg, model, _ = resnet
    state = getattr(model, precision)().state_dict()
    torch.save(state, tmp_path / 'weights.pth')
    done = export_classifier(cfg, str(tmp_path / 'weights.pth'), tmp_path, 3)
    saved = torch.load(done.checkpoint, weights_only=True)['state_dict']
    assert {v.dtype for v in saved.values()} == {getattr(torch, precision), torch.int64}
    model.float()
    images = torch.randn(2, 3, 32, 32)
    cut = get_model(str(done.config), pretrained=str(done.checkpoint))
    assert torch.equal(logits(cut, images), logits(model, images)[2])


def test_the_cut_network_can_be_trained_further(resnet, tmp_path, batch):
    cfg, _, checkpoint = resnet
    done = export_classifier(cfg, checkpoint, tmp_path, 1)
    cut = get_model(str(done.config), pretrained=str(done.checkpoint))
    images, samples = batch()
    cut.train()
    cut(images, samples, mode='loss')['loss'].backward()
    assert all(p.grad is not None for p in cut.parameters())
    assert cut.extract_feat(images, stage='pre_logits').shape == (6, 32)


def test_an_architecture_named_by_its_path(tmp_path):
    name = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'
    (tmp_path / 'net.py').write_text(
        f"model = dict(type='mmrazor_byot.BYOT', architecture=dict(cfg_path='{name}', "
        'pretrained=False))'
    )
    cfg = Config.fromfile(tmp_path / 'net.py')
    model, checkpoint = save_weights(cfg, tmp_path / 'net.pth')
    images = torch.randn(2, 3, 32, 32)
    for i in (2, 4):
        done = export_classifier(cfg, checkpoint, tmp_path / 'out', i)
        cut = get_model(str(done.config), pretrained=str(done.checkpoint))
        assert torch.equal(logits(cut, images), logits(model, images)[i - 1])
        assert torch.equal(cut.data_preprocessor.mean, model.data_preprocessor.mean)


class NeedsAll(nn.Module):
    """A backbone whose sections look at each other."""

    def __init__(self, out_indices=(0, 1)):
        super().__init__()
        self.out_indices = out_indices
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3)

    def forward(self, x):
        x = self.first(x)
        y = self.second(x)
        assert self.second.out_channels == y.shape[1]
        return tuple((x, y)[i] for i in self.out_indices)


def test_what_cannot_be_cut_says_so(tmp_path):
    MODELS.register_module(module=NeedsAll, force=True)
    cfg = write_config(tmp_path / 'net.py', dict(type='mmrazor_byot.NeedsAll'))
    _, checkpoint = save_weights(cfg, tmp_path / 'net.pth')
    message = 'exit 1 of NeedsAll cannot be exported: .*AttributeError'
    with pytest.raises(ConfigError, match=message):
        export_classifier(cfg, checkpoint, tmp_path / 'out', 1)
    assert not (tmp_path / 'out').exists()
    export_classifier(cfg, checkpoint, tmp_path / 'out')


def test_a_classifier_of_torch_says_what_to_use(tmp_path):
    network = dict(type='torchvision.models.mobilenet_v3_small', num_classes=5)
    architecture = dict(
        type='mmrazor_byot.TorchClassifier', network=network, after=['features.1', 'features.6']
    )
    model = dict(type='mmrazor_byot.BYOT', architecture=architecture)
    (tmp_path / 'net.py').write_text(Config(dict(model=model)).pretty_text)
    cfg = Config.fromfile(tmp_path / 'net.py')
    _, checkpoint = save_weights(cfg, tmp_path / 'net.pth')
    with pytest.raises(ConfigError, match='one ONNX file by tools/deploy/export_onnx.py'):
        export_classifier(cfg, checkpoint, tmp_path / 'out', 1)
    assert not (tmp_path / 'out').exists()


def test_a_checkpoint_that_does_not_fit(resnet, tmp_path):
    cfg, model, _ = resnet
    state = model.state_dict()
    state['other'] = state.pop('exit_heads.0.fc.bias')
    torch.save(state, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'other\.pth".*missing: exit_heads.0.fc.bias'):
        export_classifier(cfg, str(tmp_path / 'other.pth'), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_config_without_exits(tmp_path):
    cfg = Config.fromfile(RECIPES / 'plain_resnet18_2xb64_digits.py')
    with pytest.raises(ConfigError, match='ImageClassifier without exit'):
        export_classifier(cfg, 'any.pth', tmp_path)


def test_what_is_in_the_way(resnet, tmp_path):
    cfg, _, checkpoint = resnet
    out = tmp_path / 'out'
    first = export_classifier(cfg, checkpoint, out, 2)
    first.config.write_text('# edited\n')
    with pytest.raises(ConfigError, match='exists and has other content'):
        export_classifier(cfg, checkpoint, out, 2)
    assert first.config.read_text() == '# edited\n'
    export_classifier(cfg, checkpoint, out, 2, force=True)
    assert first.config.read_text().startswith('# Exit 2/4 of resnet.py\n')
    with pytest.raises(ConfigError, match='cannot write .*resnet.pth'):
        export_classifier(cfg, checkpoint, checkpoint, 2)
