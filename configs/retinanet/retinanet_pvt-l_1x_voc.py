# python tools/train.py configs/retinanet/retinanet_pvt-l_1x_voc.py
_base_ = ['../_base_/models/retinanet_pvt-l.py',
          '../_base_/datasets/voc0712.py', '../_base_/schedules/voc_1x.py',
          '../_base_/default_runtime_det.py']
# Assumed, as with Swin: the patch embedding of the images stays frozen.
model = dict(backbone=dict(keep_frozen=('layers.0.0.', )))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(pos_embed=dict(decay_mult=0.0))))
