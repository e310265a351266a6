# python tools/train.py \
#     configs/mini_study/oriented-rcnn_swin-nano-mona-k7_shapes.py
_base_ = [
    '../quickstart/oriented-rcnn_swin-nano_shapes.py',
    '../_base_/tuners/mona.py'
]
# Structure ablation: one 7x7 filter instead of 3x3, 5x5 and 7x7.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(
            _base_.tuner,
            _delete_=True,
            bottleneck_dims=16,
            kernel_sizes=(7, ))))
