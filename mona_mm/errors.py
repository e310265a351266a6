"""Errors that are the caller's to mend, told in one message."""


class UserError(RuntimeError):
    """Something given is wrong: the message names it and what to do."""


class ConfigError(UserError):
    """A config, or an option given for it, that cannot be used."""


class CheckpointError(UserError):
    """A checkpoint file that is missing, broken, or not what it should be."""


class Interrupted(SystemExit):
    """A run was asked to stop, and has saved where it was.

    Uncaught it ends the process with :attr:`status`.
    """

    #: Exit status: "call me again, I go on from a checkpoint".
    status = 85

    def __init__(self) -> None:
        super().__init__(self.status)
