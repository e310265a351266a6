"""Metrics that the OpenMMLab libraries compute otherwise."""
from .voc import VOCMetric

__all__ = ['VOCMetric']
