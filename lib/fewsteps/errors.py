"""The errors a user can cause, each one sentence that says what to do."""

from __future__ import annotations


class UserError(ValueError):
    """Something the caller can put right; the message is one sentence that names it and the allowed range.

    The command line prints the sentence alone and exits with status 2, and IPython shows it without a traceback,
    so that a notebook run by papermill ends with the sentence and not with forty lines of frames.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(UserError):
    """A parameter is out of its range or of the wrong kind."""


class ShapeError(UserError):
    """A tensor has the wrong shape, dtype or content."""


class DataError(UserError):
    """A data set is missing, damaged or unknown."""


class CheckpointError(UserError):
    """Trained weights are missing, damaged, or not what their card says."""


class TrainingError(UserError):
    """Training cannot go on; the message says what was kept."""
