# Assumed, for HST's own is not published: ViT-Adapter's AdamW, rate, decay and
# batch (8 GPUs x 2 images), without decay on norms, biases and meta tokens.
# float16 is as in coco_3x.py; bfloat16 is the safer choice where the GPU has
# it: --cfg-options optim_wrapper.dtype=bfloat16
_base_ = './coco_3x.py'
optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True,
        delta_lr_mult=1.0,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(tokens=dict(decay_mult=0.0))))
auto_scale_lr = dict(enable=False, base_batch_size=16)
