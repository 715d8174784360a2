"""Numbers that come from outside, checked before anything is computed: one sentence says what is wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal, TypeGuard, TypeVar

from fewsteps.errors import ParameterError

ProfileName = Literal["smoke", "cpu", "gpu"]
PROFILES: tuple[ProfileName, ...] = ("smoke", "cpu", "gpu")
T = TypeVar("T")


@dataclass(frozen=True)
class Profile:
    """How much a notebook computes: "smoke" shows that it runs, "cpu" is what the book prints, "gpu" is thorough."""

    name: ProfileName

    def pick(self, *, smoke: T, cpu: T, gpu: T) -> T:
        """The value for this profile."""
        return {"smoke": smoke, "cpu": cpu, "gpu": gpu}[self.name]


def profile(name: object) -> Profile:
    """The profile of that name.

    Raises
    ------
    ParameterError
        If it is none of smoke, cpu and gpu.
    """
    for known in PROFILES:
        if name == known:
            return Profile(known)
    raise ParameterError(f"profile must be one of {', '.join(PROFILES)}, not {name!r}.")


def number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    why: str = "",
) -> float:
    """`value` as a float, if it lies within its range.

    Parameters
    ----------
    name : str
        What the reader called it.
    value : object
        What came in; papermill hands over strings where it could not read a number.
    above, below : float, optional
        Open ends of the range: not themselves allowed.
    least, most : float, optional
        Closed ends.
    why : str
        Ends the sentence, in brackets: where the range comes from.

    Returns
    -------
    float

    Raises
    ------
    ParameterError
        If it is no finite number or outside the range.
    """
    ends = {"above": above, "of at least": least, "below": below, "at most": most}
    limits = " and ".join(f"{words} {end:g}" for words, end in ends.items() if end is not None)
    wanted = f"a number {limits}".strip() + (f" ({why})" if why else "")
    if (
        not _is_number(value)
        or not math.isfinite(value)
        or (above is not None and value <= above)
        or (least is not None and value < least)
        or (below is not None and value >= below)
        or (most is not None and value > most)
    ):
        raise ParameterError(f"{name} must be {wanted}, not {value!r}.")
    return float(value)


def seed(value: object) -> int:
    """A seed that torch takes.

    Raises
    ------
    ParameterError
        If it is no integer from 0 to 2**63 - 1.
    """
    return integer("seed", value, least=0, most=2**63 - 1)


def integer(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """`value` as an int, if it is one and lies between `least` and `most`, both included.

    Parameters
    ----------
    name : str
    value : object
        2.0 counts as 2; a string never does.
    least : int
    most : int, optional

    Returns
    -------
    int

    Raises
    ------
    ParameterError
        If it is no integer or outside the range.
    """
    wanted = f"an integer of at least {least}" if most is None else f"an integer from {least} to {most}"
    if not _is_number(value) or not math.isfinite(value) or value != math.floor(value):
        raise ParameterError(f"{name} must be {wanted}, not {value!r}.")
    if value < least or (most is not None and value > most):
        raise ParameterError(f"{name} must be {wanted}, not {value!r}.")
    return int(value)


def _is_number(value: object) -> TypeGuard[float]:
    """True is an int to Python and never what somebody meant by a number."""
    return isinstance(value, Real) and not isinstance(value, bool)
