"""Real training runs of a tiny tuned model, for tests of what survives."""
import copy
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
from helpers import NANO, new_name
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.engine import launch

#: The hooks of the runtime bases, as a user's config inherits them.
SURVIVAL = dict(
    fingerprint=dict(type='mona_mm.FingerprintHook'),
    run_state=dict(type='mona_mm.RunStateHook'),
    finite_loss=dict(type='mona_mm.NonFiniteLossHook'),
    stop=dict(type='mona_mm.StopOnSignalHook'))


@DATASETS.register_module(force=True)
class NoisyPictures(Dataset):
    """Pictures of an index, augmented by all three random generators."""

    def __init__(self, size: int = 12, noise: bool = True) -> None:
        self.size, self.noise = size, noise

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index)
        picture = torch.randn(3, 32, 32, generator=generator)
        if self.noise:
            picture += random.random() + np.random.rand() + torch.rand(1)
        return dict(inputs=picture, label=torch.tensor(index % 3))

    @property
    def metainfo(self) -> dict:
        return dict(classes=('a', 'b', 'c'))


@MODELS.register_module(force=True)
class TinyClassifier(BaseModel):
    """A tuned Swin with dropout and drop-path, and a linear head."""

    def __init__(self, backbone: dict, head: int = 3) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(32, head)

    def features(self, inputs):
        return self.backbone(inputs)[-1]

    def forward(self, inputs, label, mode='loss'):
        feature = self.features(inputs).mean((2, 3))
        scores = self.head(self.dropout(feature))
        if mode == 'loss':
            return dict(loss=nn.functional.cross_entropy(scores, label))
        return [dict(right=bool(r)) for r in scores.argmax(1) == label]


@METRICS.register_module(force=True)
class Right(BaseMetric):
    """The share that is right, and a random draw beside it."""

    def process(self, data_batch, data_samples) -> None:
        torch.rand(1), np.random.rand(), random.random()
        self.results += [s['right'] for s in data_samples]

    def compute_metrics(self, results) -> dict:
        return dict(accuracy=float(np.mean(results)))


@MMENGINE_HOOKS.register_module(force=True)
class Losses(Hook):
    """Appends every loss, by iteration, to ``losses.txt`` of the work dir."""

    priority = 'VERY_HIGH'

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        with open(Path(runner.work_dir) / 'losses.txt', 'a') as file:
            file.write(f'{runner.iter} {outputs["loss"].item()!r}\n')


def losses(folder) -> dict:
    """The losses of a work dir by iteration (the last run's)."""
    lines = (Path(folder) / 'losses.txt').read_text().splitlines()
    return {int(i): float(v) for i, v in map(str.split, lines)}


def save_base(path) -> str:
    """Write a base for the tiny backbone."""
    torch.manual_seed(1)
    torch.save(TunedSwinTransformer(
        arch=_ARCH, out_indices=()).state_dict(), path)
    return str(path)


_ARCH = dict(NANO, depths=[1, 1], num_heads=[1, 2])


def config(work_dir, base, *, by_epoch=True, iters=None, hook=None,
           tuner='LoRA', hooks=(), **extra) -> dict:
    """A Runner's config: 3 epochs of 6 iterations, or ``iters`` of them."""
    loader = dict(
        dataset=dict(type='NoisyPictures'),
        batch_size=2,
        num_workers=0,
        collate_fn=dict(type='default_collate'),
        sampler=dict(type='InfiniteSampler' if iters else 'DefaultSampler',
                     shuffle=True))
    train = dict(by_epoch=False, max_iters=iters) if iters else dict(
        by_epoch=True, max_epochs=3)
    return copy.deepcopy(dict(
        dict(
            model=dict(
                type='TinyClassifier',
                backbone=dict(
                    type='mona_mm.TunedSwinTransformer',
                    arch=_ARCH,
                    out_indices=(1, ),
                    drop_path_rate=0.3,
                    tuner=dict(type=tuner),
                    init_cfg=dict(type='Pretrained', checkpoint=base))),
            work_dir=str(work_dir),
            train_dataloader=loader,
            train_cfg=dict(train, val_interval=2 if not iters else 5),
            val_dataloader=dict(
                loader, sampler=dict(type='DefaultSampler', shuffle=True)),
            val_cfg=dict(),
            val_evaluator=dict(type='Right'),
            optim_wrapper=dict(
                constructor='mona_mm.DeltaOptimWrapperConstructor',
                optimizer=dict(type='AdamW', lr=1e-2)),
            default_hooks=dict(
                SURVIVAL,
                checkpoint=dict(
                    dict(type='CheckpointHook', by_epoch=by_epoch),
                    **(hook or dict(interval=1)))),
            custom_hooks=[dict(type='Losses'), *hooks],
            log_level='WARNING',
            default_scope='mmengine'), **extra))


def start(cfg: dict, resume=None) -> Runner:
    """Build a Runner as ``tools/train.py`` does."""
    from mmengine.config import Config
    cfg = Config(dict(cfg, experiment_name=new_name('run')))
    launch.set_resumable(cfg)
    launch.set_resume(cfg, resume)
    return Runner.from_cfg(cfg)


@MMENGINE_HOOKS.register_module(force=True)
class RankLosses(Losses):
    """The same, in a file for each process."""

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        path = Path(runner.work_dir) / f'losses{runner.rank}.txt'
        with open(path, 'a') as file:
            file.write(f'{runner.iter} {outputs["loss"].item()!r}\n')


@MMENGINE_HOOKS.register_module(force=True)
class Pids(Hook):
    """In one iteration the second process tells its number.

    It may send itself a signal, and is slow from there; the other waits for
    its gradients.
    """

    def __init__(self, at: int = -1, seconds: float = 0.,
                 number: int = 0) -> None:
        self.at, self.seconds, self.number = at, seconds, number

    def before_train_iter(self, runner, *args, **kwargs):
        if runner.rank != 1 or not 0 <= self.at <= runner.iter:
            return
        if runner.iter == self.at:
            print(f'process of rank {runner.rank}: {os.getpid()}', flush=True)
            if self.number:
                os.kill(os.getpid(), self.number)
        time.sleep(self.seconds)
