"""The paper's comparison in miniature, on generated pictures and a CPU.

Ten methods, and five variants of Mona, on four tasks from one small frozen
backbone: the paper's tables 1 to 4 and its structure ablation with everything
shrunk. It cannot confirm or refute the paper; it shows that all of it runs,
what it costs, and which of the orderings appear at this scale.
"""
from .plan import FORMS, OUT, TASKS, jobs, run
from .report import report

__all__ = ['FORMS', 'OUT', 'TASKS', 'jobs', 'report', 'run']
