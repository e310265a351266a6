"""Grids of runs: methods times tasks times seeds."""
from .grid import expand
from .jobs import Job
from .local import run_locally
from .slurm import write_slurm

__all__ = ['Job', 'expand', 'run_locally', 'write_slurm']
