#!/usr/bin/env python
"""Measure delta checkpoints of all methods: sizes, and times to save and load.

Base and weights are random; the files lie in a temporary folder, and are
read from the page cache. Times are the shortest of several tries.
"""
import argparse
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List

import torch
from mmengine.runner import load_checkpoint
from torch import nn

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.checkpoint.delta import slim
from mona_mm.engine.quiet import quiet
from mona_mm.reports.tables import markdown
from mona_mm.tuners import known_tuners

#: What the shipped configs set beside the defaults: the paper's counts.
SHIPPED = {('large', 'LoRand'): dict(bottleneck_dims=64)}
COLUMNS = ('arch', 'tuner', 'trained x 4 (MB)', 'delta (MB)', 'delta / '
           'trained x 4', 'delta / full', 'save / full', 'load / full',
           'load on its base / full')


def main(argv=None) -> None:
    """Measure, and print one table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', nargs='+', default=['base', 'large'])
    parser.add_argument('--tuner', nargs='+', default=list(known_tuners()))
    parser.add_argument('--tries', type=int, default=3)
    args = parser.parse_args(argv)
    rows = []
    for arch in args.arch:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            base = Path(folder) / 'base.pth'
            plain = TunedSwinTransformer(arch=arch, out_indices=())
            torch.save(plain.state_dict(), base)
            del plain
            for tuner in args.tuner:
                rows.append(measure(arch, tuner, base, args.tries))
    print(markdown(COLUMNS, rows, left=2))


def measure(arch: str, tuner: str, base: Path, tries: int) -> List[str]:
    """One row: a method on one architecture."""
    model = nn.ModuleDict(dict(backbone=TunedSwinTransformer(
        arch=arch, tuner=dict(SHIPPED.get((arch, tuner), {}), type=tuner),
        init_cfg=dict(type='Pretrained', checkpoint=str(base)))))
    model.backbone.init_weights()
    with torch.no_grad():
        for param in model.parameters():
            if param.requires_grad:
                param.add_(.01)
    full, delta = base.with_name('full.pth'), base.with_name('delta.pth')
    saving = [shortest(tries, lambda: torch.save(
        dict(state_dict=model.state_dict()), full)),
        shortest(tries, lambda: save(model, delta))]
    loading = [
        shortest(tries, lambda: load(model, full)),
        shortest(tries, lambda: load(model, delta),
                 lambda: forget(model)),
        shortest(tries, lambda: load(model, delta))]
    trained = 4 * sum(
        p.numel() for p in model.parameters() if p.requires_grad)
    sizes = delta.stat().st_size, full.stat().st_size
    ratio = sizes[0] / trained if trained else float('nan')
    return [
        arch, tuner, f'{trained / 1e6:.2f}', f'{sizes[0] / 1e6:.2f}',
        f'{ratio:.3f}', f'{sizes[0] / sizes[1]:.4f}',
        f'{saving[1] / saving[0]:.2f}', f'{loading[1] / loading[0]:.2f}',
        f'{loading[2] / loading[0]:.2f}']


def save(model: nn.Module, path: Path) -> None:
    """Save as the hook does."""
    content: Dict[str, dict] = dict(state_dict=model.state_dict())
    slim(content, model)
    torch.save(content, path)


def load(model: nn.Module, path: Path) -> None:
    """Load as mmengine does."""
    load_checkpoint(model, str(path), map_location='cpu')


def forget(model: nn.Module) -> None:
    """Let the model be one that was never loaded, as in inference."""
    model.backbone.frozen.loaded = False


def shortest(tries: int, job: Callable[[], object],
             before: Callable[[], object] = lambda: None) -> float:
    """Seconds that a job takes at its fastest."""
    times = []
    for _ in range(tries):
        before()
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == '__main__':
    main()
