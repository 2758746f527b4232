"""Gradients of a batch in one process, and of its halves in two.

Run on two processes; rank 0 prints the largest difference.
"""

import copy

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from mmrazor_byot.exits import LogitLoss, add_exits
from mmrazor_byot.launch import leave_processes

if __name__ == '__main__':
    from small import AFTER, SIZE, Small, images, target

    dist.init_process_group('gloo')
    rank = dist.get_rank()
    mine = slice(rank * 8, rank * 8 + 8)
    for name in ('trained', 'frozen'):
        torch.manual_seed(0)
        net = Small()
        del net.unused  # DDP wants a gradient of each parameter
        settings = dict(freeze=True, label_loss=None, logit_loss=LogitLoss(4))
        model = add_exits(net, AFTER, SIZE, **(settings if name == 'frozen' else {})).eval()
        other, x, y = copy.deepcopy(model), images(16), target(16)
        labels = (None, None) if name == 'frozen' else (y, y[mine])
        sum(other(x, labels[0], mode='loss').values()).backward()
        parallel = DistributedDataParallel(model)
        sum(parallel(x[mine], labels[1], mode='loss').values()).backward()
        whole = {k: p.grad for k, p in other.named_parameters() if p.grad is not None}
        shared = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
        assert whole.keys() == shared.keys()
        worst = max((whole[k] - shared[k]).abs().max().item() for k in whole)
        largest = max(g.abs().max().item() for g in whole.values())
        if rank == 0:
            print(f'{name}: worst {worst:.3e}, largest {largest:.3e}')
    leave_processes()
