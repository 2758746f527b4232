# The best recipe found on held-out photographs (benchmarks/README.md):
# stronger exit heads, no hint loss.
_base_ = './byot_resnet18_8xb16_cifar100.py'

model = dict(
    exit_head=dict(type='mmrazor_byot.StridedHead'), hint_loss=None)
