"""The classification head of Hierarchical Side-Tuning."""
from typing import Sequence

from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn


class BatchNormLinearClsHead(LinearClsHead):
    """A linear classifier of batch-normalised features.

    With ``GlobalAveragePooling`` before it, the head of HST (arXiv
    2310.05393): mean over the positions, batch norm without parameters of
    its own, linear.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): C, of the features.
        **kwargs: See mmpretrain's ``LinearClsHead``.
    """

    def __init__(self, num_classes: int, in_channels: int, **kwargs) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.norm = nn.BatchNorm1d(in_channels, affine=False)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """Normalise the last of the features: (B, C)."""
        return self.norm(super().pre_logits(feats))
