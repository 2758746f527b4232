# A regular name for the recipe that has another in MMRazor's documentation.
_base_ = './byot_logits_resnet18_cifar100_8xb16_in1k.py'
