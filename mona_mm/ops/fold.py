"""Fold what inference does not need apart, and undo it.

Parameters are never written to: what is folded stands beside them, so state
dicts stay as they are and :func:`unfuse` restores every bit.
"""
from typing import Any, Dict, Optional

import torch
from torch import Tensor, nn


class Foldable(nn.Module):
    """A module with a folded form for inference.

    A subclass makes it in :meth:`make_folded` and uses ``self.folded`` where
    it is not None. It is dropped when the module trains or loads, and made
    again when it moves.
    """

    folded: Optional[Any] = None

    def make_folded(self) -> Any:
        """What the forward pass can use instead of the parameters."""
        raise NotImplementedError

    def merged(self) -> Optional[Dict[str, Tensor]]:
        """What the pretrained tensors would have to be without this method.

        Returns:
            dict[str, Tensor], optional: By their names in this module, those
            with which the plain module computes what this one does; in more
            bits than they are stored with, if need be. None if there are
            none: then a checkpoint does not merge into a plain backbone.
        """
        return None

    def fold(self) -> None:
        """Make the folded form from the parameters as they are now."""
        with torch.inference_mode(False), torch.no_grad():
            self.folded = self.make_folded()

    def unfold(self) -> None:
        """Use the parameters again."""
        self.folded = None

    def train(self, mode: bool = True) -> 'Foldable':
        """Set the mode; training unfolds."""
        if mode:
            self.unfold()
        return super().train(mode)

    def _apply(self, *args, **kwargs):
        super()._apply(*args, **kwargs)
        if self.folded is not None:
            self.fold()
        return self

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self.unfold()
        super()._load_from_state_dict(*args, **kwargs)


def fuse(model: nn.Module) -> nn.Module:
    """Fold everything in a model that can be folded.

    Mona's filters and skips become one depth-wise and one point-wise step;
    what only changes weights (LoRA, DoRA, SSF) becomes part of them.

    Args:
        model (nn.Module): Loaded, and in evaluation mode.

    Returns:
        nn.Module: The same model.

    Raises:
        RuntimeError: If the model is in training mode.
    """
    if model.training:
        raise RuntimeError('fuse: the model is in training mode; call '
                           'model.eval() first, once its weights are loaded')
    for module in foldable(model):
        module.fold()
    return model


def unfuse(model: nn.Module) -> nn.Module:
    """Undo :func:`fuse`."""
    for module in foldable(model):
        module.unfold()
    return model


def foldable(model: nn.Module) -> list:
    """The modules of a model that have a folded form."""
    return [m for m in model.modules() if isinstance(m, Foldable)]
