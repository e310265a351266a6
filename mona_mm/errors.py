"""Errors that are the caller's to mend, told in one message."""


class UserError(RuntimeError):
    """Something given is wrong: the message names it and what to do."""


class ConfigError(UserError):
    """A config, or an option given for it, that cannot be used."""


class CheckpointError(UserError):
    """A checkpoint file that is missing, broken, or not what it should be."""
