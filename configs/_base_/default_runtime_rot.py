# Reads checkpoints safely, those of inferencers too.
custom_imports = dict(imports=['mona_mm.checkpoint'])
default_scope = 'mmrotate'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    delta=dict(type='mona_mm.DeltaCheckpointHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    rates=dict(type='mona_mm.LearningRatesHook'),
    # No best checkpoint: DOTA's test labels are secret.
    checkpoint=dict(
        type='mona_mm.AtomicCheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    fingerprint=dict(type='mona_mm.FingerprintHook'),
    run_state=dict(type='mona_mm.RunStateHook'),
    run_record=dict(type='mona_mm.RunRecordHook'),
    finite_loss=dict(type='mona_mm.NonFiniteLossHook'),
    labels=dict(type='mona_mm.LabelsHook'),
    stop=dict(type='mona_mm.StopOnSignalHook'),
    visualization=dict(type='mmdet.DetVisualizationHook'))
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(
    type='RotLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=None, deterministic=False)
