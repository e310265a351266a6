# python tools/train.py configs/retinanet/retinanet_swin-l_1x_voc.py
_base_ = [
    '../_base_/models/retinanet_swin-l.py', '../_base_/datasets/voc0712.py',
    '../_base_/schedules/voc_1x.py', '../_base_/default_runtime_det.py'
]
# The release keeps the patch embedding frozen here, with every method.
model = dict(backbone=dict(keep_frozen=('patch_embed', )))
