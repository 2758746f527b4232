# The plain name of the recipe that MMRazor's documentation names otherwise.
_base_ = './byot_logits_resnet18_cifar100_8xb16_in1k.py'
