"""A hook that writes each process's weights before and after training."""
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


def weights(runner):
    state = runner.model.module.state_dict()
    return {k: v.clone() for k, v in state.items()}


@HOOKS.register_module()
class ProbeHook(Hook):
    """Writes ``rank<r>.pth`` to the work dir."""

    def before_train(self, runner):
        self.before = weights(runner)

    def after_train(self, runner):
        params = dict(runner.model.module.named_parameters())
        torch.save(
            dict(
                before=self.before,
                after=weights(runner),
                trained=[k for k, p in params.items() if p.requires_grad],
                frozen=[k for k, p in params.items() if not p.requires_grad],
                find_unused_parameters=runner.model.find_unused_parameters),
            Path(runner.work_dir) / f'rank{runner.rank}.pth')
