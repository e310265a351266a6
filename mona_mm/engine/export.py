"""A trained model as a graph that other runtimes execute.

What is exported takes pictures as the config's pipeline loads them (B, 3, H,
W), 0 to 255, and normalises them itself. It gives

- a classifier: ``logits`` (B, classes);
- a segmentor: ``logits`` (B, classes, H, W), at the pictures' size;
- a detector with one stage: what its head gives for every level
  (``level0_0``, ``level0_1``, ...: scores, boxes, ... as deltas);
- a detector with two: the maps of its neck (``map0``, ...) and what its RPN
  gives. RoIAlign and NMS are mmcv's own operations, which no exporter knows.

Boxes are decoded and chosen by the head's ``predict_by_feat``.
"""
import os
from pathlib import Path
from typing import Callable, Dict, List, Sequence, Tuple

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn
from torch.nn import functional as F

from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.models import build, load_all, unwrapped
from mona_mm.compat import swaps_channels
from mona_mm.errors import ConfigError
from mona_mm.ops.fold import fuse
from mona_mm.text import partial_name

#: What each format is, and how its file is called.
FORMATS = {
    'onnx': ('ONNX by torch.export', '.onnx'),
    'onnx-trace': ('ONNX by TorchScript, opset 17', '.onnx'),
    'torchscript': ('TorchScript, traced', '.pt'),
    'torch-export': ('torch.export', '.pt2'),
}
#: Largest difference to PyTorch, relative to the largest output.
TOLERANCE = 1e-4


class Graph(nn.Module):
    """A model from pictures to tensors, without its post-processing.

    Args:
        model (nn.Module): Loaded; in evaluation mode.

    Attributes:
        names (list[str]): Of the outputs, known after the first call.
        left_out (str): What the model does besides; '' if nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.names: List[str] = []
        prepare = model.data_preprocessor
        self.flips = swaps_channels(prepare)
        for name in ('mean', 'std'):
            value = getattr(prepare, name, None)
            self.register_buffer(
                name, None if value is None else value.view(1, -1, 1, 1))
        self.left_out = ''
        if hasattr(model, 'rpn_head'):
            self.left_out = ("the second stage and NMS (mmcv's RoIAlign and "
                             'NMS are operations of its own)')
        elif hasattr(model, 'bbox_head'):
            self.left_out = 'decoding of boxes and NMS'

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """Map (B, 3, H, W) to the outputs, in the order of ``names``."""
        x = images.flip(1) if self.flips else images
        if self.mean is not None:
            x = (x - self.mean) / self.std
        model, found = self.model, {}
        if hasattr(model, 'decode_head'):
            logits = model.decode_head(model.extract_feat(x))
            found['logits'] = F.interpolate(
                logits, images.shape[2:], mode='bilinear',
                align_corners=model.align_corners)
        elif hasattr(model, 'rpn_head'):
            maps = model.extract_feat(x)
            found.update((f'map{i}', m) for i, m in enumerate(maps))
            found.update(_levels('rpn', model.rpn_head(maps)))
        elif hasattr(model, 'bbox_head'):
            found.update(_levels('level', model.bbox_head(
                model.extract_feat(x))))
        else:
            found['logits'] = model(x, mode='tensor')
        self.names = list(found)
        return tuple(found.values())


def _levels(name: str, outputs: Sequence) -> Dict[str, Tensor]:
    """``{name}{level}_{kind}`` of what a dense head gives."""
    return {f'{name}{level}_{kind}': value
            for kind, levels in enumerate(outputs)
            for level, value in enumerate(levels) if value is not None}


def export(cfg: Config, checkpoint: str, out: str, kind: str,
           shape: Sequence[int], dynamic_size: bool = False) -> List[str]:
    """Write a graph, once it is seen to compute what PyTorch computes.

    Args:
        cfg (Config): The model's config.
        checkpoint (str): Its weights, a delta or in full.
        out (str): The file; it is there only if the check passed.
        kind (str): One of :data:`FORMATS`.
        shape (Sequence[int]): H and W.
        dynamic_size (bool): Ask for a graph that takes other sizes too.
            Swin's windows are constants of a graph, so it takes one.

    Returns:
        list[str]: What was done, in lines.

    Raises:
        ConfigError: If an argument makes no sense, the exporter cannot, or
            the outputs differ.
    """
    if kind not in FORMATS:
        raise ConfigError(f'format {kind!r}: expected one of '
                          f'{", ".join(FORMATS)}')
    what, ending = FORMATS[kind]
    if not out.endswith(ending):
        raise ConfigError(f'{out}: a file of {what} ends with {ending}')
    if not Path(out).absolute().parent.is_dir():
        raise ConfigError(f'{out}: its folder does not exist')
    model = unwrapped(revert_sync_batchnorm(build(cfg)))
    load_all(model, read_checkpoint(checkpoint), checkpoint)
    graph = Graph(fuse(model.eval())).eval()
    images = _pictures(2, shape)
    with torch.no_grad():
        graph(images)  # its outputs have names now
    partial = f'{partial_name(out)}{ending}'
    try:
        try:
            with torch.no_grad():
                _write(kind, graph, images, partial, dynamic_size)
        except Exception as error:  # exporters raise whatever they like
            raise ConfigError(
                f'{what} cannot hold this model at {tuple(shape)}'
                + (', with dynamic sizes' if dynamic_size else '')
                + f': {str(error).strip().splitlines()[0]}') from error
        sizes = [tuple(shape)]
        if dynamic_size:
            sizes.append(tuple(s + 64 for s in shape))
        worst = _check(graph, _read(kind, partial), sizes, what)
        os.replace(partial, out)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
    size = 'H x W' if dynamic_size else ' x '.join(map(str, shape))
    return [
        f'{out}: {what}, {os.path.getsize(out):,} bytes',
        f'input  images (B, 3, {size}), float32, 0 to 255, as loaded',
        f'output {", ".join(graph.names)}',
        *([f'left to the caller: {graph.left_out}'] if graph.left_out else
          []),
        f'differs from PyTorch by {worst:.1e} of the largest output at most '
        f'(batches of 1 and 3, {len(sizes)} size(s); allowed {TOLERANCE:g})',
    ]


def _pictures(batch: int, shape: Sequence[int]) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    return 255 * torch.rand(batch, 3, *shape, generator=generator)


def _check(graph: Graph, run: Callable, sizes, what: str) -> float:
    """The largest relative difference; ConfigError if it is too large."""
    worst = 0.
    for size in sizes:
        for batch in (1, 3):
            images = _pictures(batch, size)
            with torch.no_grad():
                want = graph(images)
                try:
                    found = run(images)
                except Exception as error:  # of whatever runtime
                    raise ConfigError(
                        f'{what}: the graph does not run for a batch of '
                        f'{batch} at {size}, so nothing was written: '
                        f'{str(error).strip().splitlines()[0]}') from error
            for name, a, b in zip(graph.names, want, found, strict=True):
                b = torch.as_tensor(b)
                far = float('inf') if a.shape != b.shape else float(
                    (a - b).abs().max() / a.abs().max().clamp(min=1e-6))
                if not far <= TOLERANCE:
                    raise ConfigError(
                        f'{what}: {name} differs from PyTorch by {far:.1e} '
                        f'of its largest value for a batch of {batch} at '
                        f'{size}; nothing was written')
                worst = max(worst, far)
    return worst


def _write(kind: str, graph: Graph, images: Tensor, path: str,
           dynamic_size: bool) -> None:
    if kind == 'torchscript':
        torch.jit.save(torch.jit.trace(graph, images, check_trace=False), path)
        return
    named = dict(input_names=['images'], output_names=graph.names)
    if kind == 'onnx-trace':
        axes = {0: 'batch',
                **({2: 'height', 3: 'width'} if dynamic_size else {})}
        torch.onnx.export(
            graph, (images, ), path, dynamo=False, opset_version=17, **named,
            dynamic_axes={'images': axes,
                          **{name: {0: 'batch'} for name in graph.names}})
        return
    auto = torch.export.Dim.DYNAMIC
    shapes = ({0: torch.export.Dim('batch'),
               **({2: auto, 3: auto} if dynamic_size else {})}, )
    if kind == 'onnx':
        torch.onnx.export(
            graph, (images, ), path, dynamo=True, external_data=False,
            dynamic_shapes=shapes, verbose=False, **named)
    else:
        torch.export.save(torch.export.export(
            graph, (images, ), dynamic_shapes=shapes, strict=False), path)


def _read(kind: str, path: str) -> Callable[[Tensor], Sequence]:
    if kind == 'torchscript':
        return torch.jit.load(path)
    if kind == 'torch-export':
        return torch.export.load(path).module()
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError('an ONNX file is checked by onnxruntime before it '
                          'is kept: pip install onnx onnxruntime onnxscript'
                          ) from error
    session = onnxruntime.InferenceSession(
        path, providers=['CPUExecutionProvider'])
    return lambda images: session.run(None, {'images': images.numpy()})
