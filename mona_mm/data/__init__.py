"""Datasets, their labels, metrics and preparation."""
