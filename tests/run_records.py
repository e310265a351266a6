"""Records of runs, written by hand."""
import json

VOC = 'configs/retinanet/retinanet_swin-l{}_1x_voc.py'


def record(config, last, seed=1, **more):
    """What training writes; ``last`` as the libraries log it."""
    return {
        'config': config, 'seed': seed,
        'started': f'2026-11-{seed:02d}T12:00:00+00:00',
        'ended': f'2026-11-{seed:02d}T13:00:00+00:00',
        'device': '2 x NVIDIA H200', 'world_size': 2, 'memory_mib': 5900.0,
        'wall_seconds': 7200.0, 'sessions': 1, 'done': 4, 'total': 4,
        'unit': 'epoch', 'finished': True, 'tuner': {'type': 'Mona'},
        'trained': 5267712, 'share': 0.0263, 'changed': [], 'last': last,
        'best': last, 'versions': {'torch': '2.11.0'}, **more}


def write(folder, *args, **kwargs):
    """Write a record as ``run.json`` of a work dir, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'run.json'
    path.write_text(json.dumps(record(*args, **kwargs)))
    return path


def voc(folder, method, values, tuner, **kwargs):
    """Runs of a VOC cell, one per value; the seeds count from 1."""
    for seed, value in enumerate(values, 1):
        write(folder / f'{method or "full"}_{seed}',
              VOC.format(method and f'-{method}'), {'pascal_voc/mAP': value},
              seed, tuner={'type': tuner}, **kwargs)
