"""The errors that a user can cause; each message names the file, the field and the fix."""


class SynoodError(Exception):
    """Root of all errors raised on purpose by this package."""


class InputError(SynoodError, ValueError):
    """What was given cannot be used. The command line prints it as one line and exits with 2."""


class CheckpointError(InputError):
    """A detector or model directory lacks a file, holds an altered one, or is of another format."""


class SynoodWarning(UserWarning):
    """Root of all warnings of this package. The command line prints them as one line."""


class EmulatedPrecisionWarning(SynoodWarning):
    """A precision was asked for that the CPU only emulates, which is slow."""
