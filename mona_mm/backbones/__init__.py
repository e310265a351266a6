"""Where tuners attach: one file per backbone family."""
from .swin import SwinTransformerMona, TunedSwinTransformer
from .tuned import TunedBackbone

__all__ = ['SwinTransformerMona', 'TunedBackbone', 'TunedSwinTransformer']
