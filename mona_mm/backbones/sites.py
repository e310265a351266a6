"""The sites of a transformer block, for the blocks of any family."""
from typing import Callable, Dict, List, Optional, Tuple, Union

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mona_mm.ops import runs_line_by_line
from mona_mm.tuners import LINEARS, BlockOutput, Tuner

from .drop_path import add_branch

HwShape = Tuple[int, int]


class TunedBlock(nn.Module):
    """A block that runs what a tuner puts at its sites.

    A family's block takes the children of the library's block over under
    their names, takes drop-path out of the branches, and calls
    :meth:`insert`; its forward pass is two halves::

        class TunedViTBlock(TunedBlock, BaseModule):
            branches = dict(attn=('ln1', 'attn'), ffn=('ln2', 'ffn'))
            linears = dict(qkv='attn.qkv', proj='attn.proj',
                           fc1='ffn.layers.0.0', fc2='ffn.layers.1')

            def __init__(self, block, tuner):
                super().__init__()
                self.ln1, self.attn = block.ln1, block.attn
                ...
                self.insert(tuner, dims)

            def forward(self, x, hw_shape, extra=1):  # a class token
                x, tokens = self.enter(x)
                before = tokens + extra
                x = self.half('attn', x, hw_shape, self.ln1, self.attn,
                              self.drop_path1, before)
                x = self.half('ffn', x, hw_shape, self.ln2, self.run_ffn,
                              self.drop_path2, before)
                return self.leave(x, hw_shape, tokens, extra)

    A family that norms after the branch gives :meth:`half` an
    ``nn.Identity()`` as the norm and a function that norms its result; one
    that computes on maps flattens them to (B, N, C) before. ``norm`` and
    ``run`` are called with (B, T + N, C) alone, of some samples of the batch.

    Attributes:
        branches (dict[str, tuple[str, ...]]): For ``'attn'`` and ``'ffn'``,
            the children that the branch is made of.
        linears (dict[str, str]): Where the linear layers are, by site.
        with_cp (bool): Recompute it in the backward pass.
        line_by_line (bool): Run what is written in the papers, instead of
            fast, exact forms.
        skip_dropped (bool | str): Leave out the branches that drop-path
            zeroes; ``'auto'``: on a CPU.
        alone (bool): Its weights are there only while it runs, so that
            nothing outside of it may look at them. Defaults to False.
        occupied (frozenset[str]): Names of all children.
        outputs (list[BlockOutput], optional): Where the block puts its
            output for a side network.
    """

    branches: Dict[str, Tuple[str, ...]] = dict(
        attn=('norm1', 'attn'), ffn=('norm2', 'ffn'))
    linears: Dict[str, str] = {}
    with_cp = False
    line_by_line = False
    alone = False
    skip_dropped: Union[bool, str] = 'auto'
    outputs: Optional[List[BlockOutput]] = None

    def insert(self, tuner: Tuner, dims: int) -> None:
        """Put the tuner's modules at their sites.

        Args:
            tuner (Tuner): It has been checked that the family has its sites.
            dims (int): C, the width of the block.
        """
        for site in tuner.sites:
            if site in LINEARS:
                owner, _, name = self.linears[site].rpartition('.')
                owner = self.get_submodule(owner)
                setattr(owner, name, tuner.adapt(site, getattr(owner, name)))
            elif set(self.branches) & set(site.split('_')):
                self.add_module(site, tuner.build(site, dims))
        if 'tokens' in tuner.sites:
            self.add_module('tokens', tuner.tokens(dims))
        self.occupied = frozenset(name for name, _ in self.named_children())

    def enter(self, x: Tensor) -> Tuple[Tensor, int]:
        """Put the extra tokens before the sequence.

        Args:
            x (Tensor): (B, N, C).

        Returns:
            tuple[Tensor, int]: (B, M + N, C), and M.
        """
        if 'tokens' not in self.occupied:
            return x, 0
        tokens = self.tokens(len(x)).to(x.dtype)
        return torch.cat((tokens, x), 1), tokens.shape[1]

    def leave(self, x: Tensor, hw_shape: HwShape, tokens: int = 0,
              extra: int = 0) -> Tensor:
        """Take the extra tokens off, and tell a side network.

        Args:
            x (Tensor): (B, M + T + N, C).
            hw_shape (tuple[int, int]): (H, W) with H * W = N.
            tokens (int): M, the extra tokens.
            extra (int): T, class and register tokens, which stay.

        Returns:
            Tensor: (B, T + N, C).
        """
        own = x[:, :tokens] if tokens else None
        x = x[:, tokens:] if tokens else x
        if self.outputs is not None:
            self.outputs.append(
                BlockOutput(x[:, extra:] if extra else x, hw_shape, own))
        return x

    def recompute(self, run: Callable, *args):
        """``run(*args)``; with ``with_cp`` again in the backward pass.

        It is the non-reentrant form, which a frozen input does not trouble.
        """
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(run, *args, use_reentrant=False)
        return run(*args)

    def half(self,
             part: str,
             x: Tensor,
             hw_shape: HwShape,
             norm: Callable[[Tensor], Tensor],
             run: Callable[[Tensor], Tensor],
             drop_path: nn.Module,
             before: int = 0) -> Tensor:
        """One residual branch with all its sites.

        ``after(x + drop_path(out(run(in(norm(x))))) + beside(x))``

        Args:
            part (str): ``'attn'`` or ``'ffn'``.
            x (Tensor): (B, T + N, C).
            hw_shape (tuple[int, int]): (H, W) with H * W = N.
            norm (Callable): Before the branch.
            run (Callable): The branch without norm and drop-path.
            drop_path (nn.Module): On the branch.
            before (int): T, the tokens that are no patches.

        Returns:
            Tensor: (B, T + N, C).
        """

        def branch(x: Tensor, normed: Optional[Tensor]) -> Tensor:
            """The branch, of some samples."""
            return self.branch(part, x, normed, hw_shape, norm, run, before)

        x = self.plus(part, x, None, hw_shape, norm, branch, drop_path,
                      before)
        return self.at(f'after_{part}', x, hw_shape, before)

    def at(self, site: str, x: Tensor, hw_shape: HwShape, before: int = 0,
           adds: bool = False) -> Tensor:
        """What a site makes of its input (B, T + N, C), T = ``before``.

        Tokens that it does not see stay as they are; where it ``adds``, they
        get nothing.
        """
        if site not in self.occupied:
            return x
        module = getattr(self, site)
        if getattr(module, 'takes_tokens', False):
            return module(x, hw_shape, tokens=before)
        if not before:
            return module(x, hw_shape)
        out = module(x[:, before:], hw_shape)
        first = out.new_zeros(len(out), before, out.shape[-1]) if adds else (
            x[:, :before])
        return torch.cat((first, out), 1)

    def branch(self,
               part: str,
               x: Tensor,
               normed: Optional[Tensor],
               hw_shape: HwShape,
               norm: Callable[[Tensor], Tensor],
               run: Callable[[Tensor], Tensor],
               before: int = 0) -> Tensor:
        """All that stands before drop-path: see :meth:`half`.

        ``normed`` is ``norm(x)``, if it is there already.
        """
        normed = norm(x) if normed is None else normed
        t = self.at(f'{part}_in', normed, hw_shape, before)
        return self.at(f'{part}_out', run(t), hw_shape, before)

    def plus(self,
             part: str,
             x: Tensor,
             normed: Optional[Tensor],
             hw_shape: HwShape,
             norm: Callable[[Tensor], Tensor],
             branch: Callable[[Tensor, Optional[Tensor]], Tensor],
             drop_path: nn.Module,
             before: int = 0,
             scale: Optional[Tensor] = None) -> Tensor:
        """``x + drop_path(branch(x, normed))``, and what stands beside it.

        ``scale`` (B, 1, 1), if given, is what drop-path multiplies by.
        """
        beside = getattr(self, f'beside_{part}', None)
        if normed is None and getattr(beside, 'takes_normed', False):
            normed = norm(x)
        skip = self.skip_dropped
        if skip == 'auto':
            skip = x.device.type == 'cpu'
        if runs_line_by_line(self):
            y = x + drop_path(branch(x, normed))
        elif scale is not None and not skip:
            y = torch.addcmul(x, branch(x, normed), scale)
        else:
            parts = (*self.branches[part], f'{part}_in', f'{part}_out')
            trains = skip and any(
                p.requires_grad for name in parts if name in self.occupied
                for p in getattr(self, name).parameters())
            y = add_branch(x, normed, branch, drop_path, skip, trains)
        if beside is None:
            return y
        if getattr(beside, 'takes_normed', False):
            x = normed
        aside = self.at(f'beside_{part}', x, hw_shape, before, adds=True)
        if getattr(beside, 'in_drop_path', False):
            aside = drop_path(aside)
        return y + aside
