"""The fast forms: exact autograd functions, without modules or configs.

Every function here has a line-by-line counterpart, which is the
specification: ``MonaLayer.line_by_line`` for :func:`mona`, mmpretrain's
``ShiftWindowMSA`` for :func:`window_attention`, the formula in
``LoRALinear`` for :func:`low_rank_linear`. Legend of shapes: B, N, C, H, W
as everywhere; T = B * N tokens; n the width of a bottleneck.
"""
