# The paper's setting (sections 3.2 and 4.2).
tuner = dict(
    type='Mona',
    bottleneck_dims=64,
    kernel_sizes=(3, 5, 7),
    scaled_norm=True,
    drop_rate=0.1,
    # 'pytorch' is STAR-MMRotate's; the paper says Kaiming uniform.
    linear_init='trunc_normal')
