"""The numbers on the errata page, computed: prose may hold none that no command makes."""

import math
from pathlib import Path

import pytest
import torch
from scipy import optimize

from fewsteps import schedules as sch

TEXT = (Path(__file__).resolve().parents[2] / "book" / "errata.md").read_text(encoding="utf-8")


def first_failure(rate, a, divisor):
    """Where Eq. 13 stops to hold for gamma x0 = rate, with DDPM's exponent over `divisor`."""

    def lead(t):
        return math.log(rate / 2) - rate * t / 2 - math.log(2 * a * t / divisor) + a * t * t / divisor

    return optimize.brentq(lead, 1e-9, 0.5)


NUMBERS = {
    "literal Eq. 10": (f"{math.exp(-20 / 200):.2f}", r"\bar\alpha = 0.90"),
    "peak of the slope": (f"{sch.SNR_PEAK:.3f}", "2.576"),
    "proposition 2": (f"{first_failure(20, 10, 4):.2f}", "0.23"),
    "proposition 2, printed": (f"{first_failure(20, 10, 2):.2f}", "0.19"),
    "darkest pixel": (f"{math.sqrt(-math.expm1(-20 * sch.PIXEL_MIN)):.2f}", "\n0.28, so"),
    "smallest tie": (f"{float(sch.progressive(2).alpha_bars[1]):.3f}", "0.658"),
    "largest tie": (f"{float(sch.progressive(2, tie='largest').alpha_bars[1]):.3f}", "0.746"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_on_the_errata_page_are_computed(name):
    computed, printed = NUMBERS[name]
    assert computed in printed and printed in TEXT, (computed, printed)


def test_proposition_2_on_the_errata_page_is_the_librarys():
    """PX-3: the page's case, gamma x0 = 20 and a = 10, through the library: it fails from there to the end."""
    t = torch.linspace(0.001, 1, 1000, dtype=torch.float64)
    holds = sch.proposition_2_holds(torch.tensor(1.0, dtype=torch.float64), t, 20.0, 10.0)
    assert torch.equal(holds, t < first_failure(20, 10, 4))
