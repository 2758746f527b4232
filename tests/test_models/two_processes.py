"""Gradients of a batch of 16 in one process, and of 2 x 8 in two.

Run on two processes; rank 0 prints the largest difference.
"""

import os

import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample

from mmrazor_byot.launch import leave_processes
from mmrazor_byot.models import BYOT


def gradients(model, images, labels):
    samples = [DataSample().set_gt_label(y) for y in labels]
    model.zero_grad()
    sum(model(images, samples, mode='loss').values()).backward()
    return {name.removeprefix('module.'): p.grad.clone() for name, p in model.named_parameters()}


def main():
    dist.init_process_group('gloo')
    rank, world = dist.get_rank(), dist.get_world_size()
    init_default_scope('mmpretrain')
    torch.manual_seed(0)  # the same network and batch on each rank
    model = BYOT(
        dict(
            type='ImageClassifier',
            backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=5, in_channels=64),
        )
    )
    model.eval()  # batch norm must not see which batch it is in
    images = torch.randn(16, 3, 32, 32)
    labels = torch.arange(16) % 5
    whole = gradients(model, images, labels)
    mine = slice(rank * 16 // world, (rank + 1) * 16 // world)
    parallel = MMDistributedDataParallel(model)
    shared = gradients(parallel, images[mine], labels[mine])
    worst = max((whole[k] - shared[k]).abs().max().item() for k in whole)
    largest = max(g.abs().max().item() for g in whole.values())
    if rank == 0:
        print(f'{world} processes, worst {worst:.3e}, largest {largest:.3e}')
    leave_processes()


if __name__ == '__main__':
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    main()
