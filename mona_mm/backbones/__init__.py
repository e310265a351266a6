"""Where tuners attach: one file per backbone family."""
from .swin import SwinTransformerMona, TunedSwinTransformer
from .tuned import TunedBackbone, tuned_class

__all__ = [
    'SwinTransformerMona', 'TunedBackbone', 'TunedSwinTransformer',
    'tuned_class'
]
