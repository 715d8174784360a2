"""What is not installed is asked for in one sentence."""

from __future__ import annotations

from types import ModuleType

from fewsteps.errors import ParameterError


def diffusers() -> ModuleType:
    """The package.

    Raises
    ------
    ParameterError
        If it is not installed.
    """
    try:
        import diffusers as found
    except ImportError as error:
        raise ParameterError(
            "diffusers is not installed, and this is about its models: pip install 'fewsteps[book]'."
        ) from error
    return found
