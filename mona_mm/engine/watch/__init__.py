"""Hooks that look at a run: what it learns from, and whether it does."""
