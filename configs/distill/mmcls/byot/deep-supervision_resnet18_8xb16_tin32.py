# Deep supervision, labels only at every exit: alpha = lambda = 0.
_base_ = './byot_resnet18_8xb16_tin32.py'

model = dict(
    label_loss=dict(loss_weight=1.0), logit_loss=None, hint_loss=None)
