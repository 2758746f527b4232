"""A trained classifier on noise, and short runs that train only its exits."""

import copy

import torch
from mmengine.logging import MMLogger
from short_runs import EMA, MODEL, Noise, config

from mmrazor_byot.registry import MODELS

#: What the exits learn from.
LOSSES = dict(
    labels=dict(logit_loss=None, hint_loss=None),
    deepest=dict(
        label_loss=None,
        logit_loss=dict(type='mmrazor_byot.LogitLoss', temperature=2),
        hint_loss=None,
    ),
    both=dict(),
)
#: All that could change a weight which has no gradient.
AVERAGE = dict(EMA, update_buffers=True)
SYNC = dict(type='SyncBuffersHook')
AMP = dict(type='mmrazor_byot.AmpOptimWrapper', dtype='bfloat16')
ADAMW = dict(optimizer=dict(type='AdamW', lr=0.02, weight_decay=0.1))


def architecture() -> dict:
    """Config of the classifier."""
    architecture = copy.deepcopy(MODEL['architecture'])
    architecture['head']['in_channels'] = 32
    return architecture


def write_classifier(path) -> None:
    """Train the classifier on the images of the runs, and write its checkpoint as mmpretrain's."""
    MMLogger.get_instance('mmengine').setLevel('WARNING')
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = MODELS.build(architecture())
        classifier.init_weights()
        images, labels = prepared(), torch.arange(20) % 5
        optimizer = torch.optim.Adam(classifier.parameters(), lr=0.01)
        for _ in range(40):
            optimizer.zero_grad()
            logits = classifier(images, mode='tensor')
            torch.nn.functional.cross_entropy(logits, labels).backward()
            optimizer.step()
    torch.save(dict(meta={}, state_dict=classifier.state_dict()), path)


def prepared() -> torch.Tensor:
    """The images (20, 3, 16, 16) as the data preprocessor makes them."""
    return (Noise(20).images.float() - 127.5) / 64


def model(checkpoint, learned='both', **settings) -> dict:
    """Config of the frozen network."""
    pretrained = dict(type='Pretrained', checkpoint=str(checkpoint))
    own = dict(architecture=dict(architecture(), init_cfg=pretrained), freeze_architecture=True)
    return {**MODEL, **own, **LOSSES[learned], **settings}


def frozen_config(work_dir, checkpoint, epochs=2, learned='both', hooks=(), **changes):
    """Config of a run, with everything that could change the frozen weights."""
    checks = dict(type='mmrazor_byot.CheckpointCheckHook')
    changes = {
        'model': model(checkpoint, learned),
        'optim': ADAMW,
        'hooks': [AVERAGE, SYNC, checks, *hooks],
        'param_scheduler': [],
        **changes,
    }
    return config(work_dir, epochs, **changes)
