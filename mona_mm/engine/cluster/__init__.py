"""Running on shared machines: addresses, and scripts for slurm.

Nothing here imports torch or the OpenMMLab libraries, so that scripts that
only start others start at once.
"""
from .address import set_address, torchrun_options
from .sbatch import Request, write_script

__all__ = ['Request', 'set_address', 'torchrun_options', 'write_script']
