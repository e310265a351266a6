"""Grids of runs: methods times tasks times seeds."""
from .grid import expand, fitting, of_task
from .jobs import BACKBONE_RATE, Job
from .local import Outcome, exit_status, run_locally, show
from .slurm import write_slurm

__all__ = [
    'BACKBONE_RATE', 'Job', 'Outcome', 'exit_status', 'expand', 'fitting',
    'of_task', 'run_locally', 'show', 'write_slurm'
]
