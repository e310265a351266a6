"""One training step of a backbone, its parts timed apart."""
import logging
from typing import Optional, Sequence

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import Tensor, nn

from mona_mm.engine.optim import DeltaOptimWrapperConstructor
from mona_mm.engine.quiet import quiet

from .options import Options
from .timing import Laps, Stopwatch


def loss_of(outputs: Sequence[Tensor]) -> Tensor:
    """A scalar that reaches every output: the sum of mean squares."""
    return sum(o.float().square().mean() for o in outputs)


def trains(model: nn.Module) -> bool:
    """Whether any parameter of a model trains."""
    return any(p.requires_grad for p in model.parameters())


def build_optim(model: nn.Module, cfg: dict,
                ours: bool = True) -> OptimWrapper:
    """Build a backbone's optimizer wrapper as a Runner would.

    Args:
        model (nn.Module): The backbone.
        cfg (dict): ``optimizer`` and ``paramwise_cfg``.
        ours (bool): With our constructor, or else with mmengine's default
            one, which knows no ``delta_lr_mult``. Defaults to True.
    """
    rules = dict(cfg['paramwise_cfg'])
    if not ours:
        rules.pop('delta_lr_mult', None)
    kind = (DeltaOptimWrapperConstructor
            if ours else DefaultOptimWrapperConstructor)
    constructor = kind(
        dict(type='OptimWrapper', optimizer=dict(cfg['optimizer'])), rules)
    # Rules match names as they are in a whole model.
    with quiet(logging.WARNING):
        return constructor(nn.ModuleDict(dict(backbone=model)))


class TrainingStep:
    """A subject's training step on fixed images.

    Args:
        model (nn.Module): The backbone; it is set to train mode.
        cfg (dict): ``optimizer`` and ``paramwise_cfg``.
        images (Tensor): (B, 3, H, W).
        options (Options): Device and precision.
    """

    def __init__(self, model: nn.Module, cfg: dict, images: Tensor,
                 options: Options) -> None:
        model.train()
        self.model, self.images, self.options = model, images, options
        self.optimizer: Optional[torch.optim.Optimizer] = None
        if trains(model):
            self.optimizer = build_optim(model, cfg).optimizer
        # As mixed precision in float16 is trained; else it does nothing.
        self.scaler = torch.amp.GradScaler(
            options.place.type, enabled=options.dtype == 'float16')

    def __call__(self) -> Laps:
        """Do one step.

        Returns:
            dict[str, float]: Milliseconds of ``forward`` (loss included),
            ``backward``, ``optimizer`` (zeroing gradients included) and
            their ``total``; where nothing trains, the second and third are
            ``None``.
        """
        watch = Stopwatch(self.options.place)
        with self.options.autocast():
            loss = loss_of(self.model(self.images))
        watch.mark()
        if self.optimizer is not None:
            self.scaler.scale(loss).backward()
            watch.mark()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
            watch.mark()
        laps = watch.laps()
        forward, backward, optimizer = (*laps, None, None)[:3]
        return dict(
            total=sum(laps),
            forward=forward,
            backward=backward,
            optimizer=optimizer)
