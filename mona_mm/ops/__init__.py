"""The fast forms: exact autograd functions, without modules or configs.

Every function here has a line-by-line counterpart, which is the
specification: ``MonaLayer.formula`` for :func:`mona`, mmpretrain's
``ShiftWindowMSA`` for :func:`window_attention`, ``LoRALinear.formula`` for
:func:`low_rank_linear`. Where Triton runs (:mod:`.launch`), :func:`mona_fused`
takes the place of :func:`mona`. Legend of shapes: B, N, C, H, W as everywhere;
T = B * N tokens; n the width of a bottleneck.
"""
import torch
from torch import nn


def runs_line_by_line(module: nn.Module) -> bool:
    """Whether a module is to run as it is written in the papers.

    It is if its ``line_by_line`` says so, and while ``torch.compile`` or
    ``torch.jit`` traces (for ONNX, or to count FLOPs): a compiler fuses the
    written form itself, and no tracer can look into functions with a backward
    pass of their own. Nor can mmcv's counter of FLOPs.
    """
    return (module.line_by_line or torch.compiler.is_compiling()
            or is_traced() or _is_counted(module))


def _is_counted(module: nn.Module) -> bool:
    """Whether mmcv counts its FLOPs, by a hook on every layer.

    Functions call no hooks. Whoever counts calls ``eval()`` before; in
    training, where launches are dear, nothing is looked for.
    """
    if module.training:
        return False
    layer = next((m for m in module.modules()
                  if type(m) in (nn.LayerNorm, nn.Linear)), None)
    return hasattr(layer, '__flops_handle__')  # mmcv's name for the hook


def is_traced() -> bool:
    """Whether a trace is made that must hold for other batches.

    By ``torch.jit.trace``, ``torch.export`` or what builds on them (ONNX,
    counters of FLOPs).
    """
    return torch.jit.is_tracing() or torch.compiler.is_exporting()
