tuner = dict(
    type='Convpass',
    bottleneck_dims=8,
    # The paper searches it for every task.
    scale=1.,
    # 'xavier' with Swin, as published.
    conv_init='identity',
    drop_rate=0.1)
