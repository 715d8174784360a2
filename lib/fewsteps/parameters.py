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


def number(name: str, value: object, *, above: float = -math.inf, below: float = math.inf, why: str = "") -> float:
    """`value` as a float, if it lies strictly between `above` and `below`.

    Parameters
    ----------
    name : str
        What the reader called it.
    value : object
        What came in; papermill hands over strings where it could not read a number.
    above, below : float
        Open ends of the range.
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
    ends = [f"above {above:g}"] * (above > -math.inf) + [f"below {below:g}"] * (below < math.inf)
    wanted = " ".join(["a number", " and ".join(ends)]).strip() + (f" ({why})" if why else "")
    if not _is_number(value) or not math.isfinite(value) or not above < value < below:
        raise ParameterError(f"{name} must be {wanted}, not {value!r}.")
    return float(value)


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
