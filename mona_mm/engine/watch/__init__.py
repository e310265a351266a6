"""Hooks that stop a run which could learn nothing, or the wrong thing."""
