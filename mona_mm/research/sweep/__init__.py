"""Grids of runs: methods times tasks times seeds."""
from .grid import expand, fitting, of_task
from .jobs import Job
from .local import Outcome, exit_status, run_locally, show
from .slurm import write_slurm

__all__ = [
    'Job', 'Outcome', 'exit_status', 'expand', 'fitting', 'of_task',
    'run_locally', 'show', 'write_slurm'
]
