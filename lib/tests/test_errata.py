"""The errata page: its numbers are computed, and what it draws is held against what does not know the formula."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import fft, integrate, linalg, optimize

from fewsteps import filters, samplers, theory
from fewsteps import schedules as sch
from fewsteps.denoisers import Gaussian
from fewsteps.errors import ParameterError
from fewsteps.experiments import errata, few_step

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


def drawn(row, form, value):
    """A curve's abscissas and ordinates as float64 arrays."""
    return tuple(line.numpy() for line in errata.MISPRINTS[row].curve(form, value))


def test_every_misprint_that_is_drawn_is_explained_and_linked():
    """A heading, the two forms and the link that draws it, for every entry of the figure and for no other."""
    linked = re.findall(r'<a href="#draw-([\w-]+)">Draw \1</a>', TEXT)
    assert sorted(linked) == sorted(errata.MISPRINTS)
    for row in errata.MISPRINTS:
        entry = TEXT.split(f"### {row}: ")[1].split("\n### ")[0]
        assert "Printed" in entry and "*Used" in entry.replace("**Used", "*Used") and f"#draw-{row}" in entry


def test_forms_differ_and_the_reader_sees_it():
    """Nearly everywhere on its slider a misprint's two curves differ by 2 % of its frame, and most of each is in it."""
    for row, entry in errata.MISPRINTS.items():
        assert len(set(entry.values)) == errata.POSITIONS, row
        seen = 0
        for value in entry.values:
            heights = []
            for form in errata.FORMS:
                x, y = (line.numpy() for line in entry.curve(form, value))
                assert x.min() >= entry.x.low - 1e-9 and x.max() <= entry.x.high + 1e-9, (row, value)
                ends = np.array([entry.y.low, entry.y.high])
                if entry.y.log:
                    y, ends = np.log10(np.maximum(y, 1e-300)), np.log10(ends)
                place = (y - ends[0]) / (ends[1] - ends[0])
                assert np.mean((place >= 0) & (place <= 1)) >= 0.4, (row, form, value)
                heights.append(place.clip(0, 1))
            shared = min(map(len, heights))
            seen += np.abs(heights[0][:shared] - heights[1][:shared]).max() >= 0.02
        assert seen >= 13, (row, seen)


def test_unknown_form_is_named():
    with pytest.raises(ParameterError, match="form must be one of printed, used, not 'right'"):
        errata.MISPRINTS["SD-1"].curve("right", 0.5)


class TestUsedFormsAreRight:
    """Every form that is used, against something that does not know it; the printed one must fail the same check."""

    def both(self, row, value, expected):
        x, used = drawn(row, "used", value)
        printed = drawn(row, "printed", value)[1]
        wanted = expected(x)
        np.testing.assert_allclose(used, wanted, rtol=1e-6, atol=1e-12)
        assert not np.allclose(printed[: len(wanted)], wanted[: len(printed)], rtol=1e-3)

    def test_wiener(self):
        """SD-1: covariance of the clean part with x_t, over the variance of x_t."""
        ab = 0.4
        self.both("SD-1", ab, lambda f: ab * 0.01 / f**2 / (ab * 0.01 / f**2 + 1 - ab))

    def test_steps_of_the_pixel_aware_process(self):
        """PX-1, PX-2, PX-4: one step multiplies the state by sqrt(alpha) and adds noise of variance 1 - alpha."""

        def walked(x0, gamma, count):
            """Share of the clean pixel's square and variance of the noise after every step."""
            alpha, share, variance = math.exp(-gamma * x0 / count), [1.0], [0.0]
            for _ in range(count):
                share.append(share[-1] * alpha)
                variance.append(variance[-1] * alpha + 1 - alpha)
            return np.array(share), np.array(variance)

        self.both("PX-1", 10, lambda i: walked(0.2, 20, 10)[0])
        self.both("PX-2", 40, lambda t: walked(1.0, 20, 40)[0])
        self.both("PX-4", 10, lambda x: np.array([walked(v, 10, 50)[1][-1] for v in x]) ** 0.5)

    def test_slope_of_the_snr(self):
        """PX-3: a difference quotient of x^2 ab / (1 - ab)."""

        def snr(t):
            return 0.3**2 / np.expm1(20 * t * 0.3)

        x, used = drawn("PX-3", "used", 0.3)
        printed = drawn("PX-3", "printed", 0.3)[1]
        quotient = -(snr(x + 1e-6) - snr(x - 1e-6)) / 2e-6
        np.testing.assert_allclose(used, quotient, rtol=1e-6)
        assert not np.allclose(printed, quotient, rtol=0.01)

    def test_mean_under_a_linear_rate(self):
        """PX-11: dm/dt = -(a t / 2) m, integrated."""
        solved = integrate.solve_ivp(
            lambda t, m: -3.0 * t * m, (0, 1), [0.5], rtol=1e-10, atol=1e-12, dense_output=True
        ).sol
        self.both("PX-11", 6.0, lambda t: solved(t)[0])

    def test_posterior_mean(self):
        """PX-8: the regression of x_{j-1} on x_j for a known x0, solved for what multiplies the noise."""

        def factor(index):
            step = math.exp(-20 * 0.3 / 200)
            now, before = step**index, step ** (index - 1)
            slope = np.sqrt(step) * (1 - before) / (1 - now)  # cov(x_{j-1}, x_j | x0) / var(x_j | x0)
            # At x0 = 0, x_j is the noise times sqrt(1 - now): the mean is slope x_j.
            return (1 - slope * np.sqrt(step)) * np.sqrt(1 - now)

        self.both("PX-8", 0.3, factor)

    def test_orthonormal_rows(self):
        """TDAS-2: against SciPy's orthonormal transform of the identity."""
        self.both("TDAS-2", 12, lambda k: (fft.dct(np.eye(12), axis=0, norm="ortho") ** 2).sum(1))

    def test_variance_of_the_start(self):
        """TDAS-3: the last point is the output of the library's sampler, and the first one what the network expects."""
        power = torch.full((1, 1), 0.25, dtype=torch.float64)
        model = Gaussian(sch.VE(0.01, 50), power)
        times = sch.geometric(model.schedule, 20)
        for form, gain in (("used", 1.0), ("printed", 1 / 50)):
            law = theory.propagate(
                samplers.predictor_corrector, model, times, corrections=0, filt=filters.scalar(gain, where=["prior"])
            )
            x, y = drawn("TDAS-3", form, 20)
            low = 0.25 + 0.01**2
            # The sampler goes one step further, to noise zero without fresh noise.
            assert y[-1] ** 2 * low * (0.25 / low) ** 2 == pytest.approx(float(law.variance), rel=1e-3)
            assert y[0] == pytest.approx(gain, rel=1e-3) and x[0] == pytest.approx(50)

    def test_limits(self):
        """TDAS-9, PDS-3: what the library's samplers tend to as their steps grow, extrapolated from two numbers."""
        for row, drift in (("TDAS-9", False), ("PDS-3", True)):
            x, used = drawn(row, "used", 1.0)
            for m, value in zip(x[20::10], used[20::10], strict=True):
                few, more = (few_step.limit(float(m), drift, n, moves=row == "TDAS-9") for n in (200, 400))
                assert 2 * more - few == pytest.approx(value, rel=0.02)

    def test_centres(self):
        """TDAS-4, PDS-4: the zero frequency is in its own zone however small that is, and PDS' mask is even."""
        assert drawn("TDAS-4", "used", 0.02)[1][0] == 1 and drawn("TDAS-4", "printed", 0.02)[1][0] == 0.5
        for form, even in (("used", True), ("printed", False)):
            mask = drawn("PDS-4", form, 0.2)[1][1:]  # without the frequency -16, which is its own mirror image
            assert np.array_equal(mask, mask[::-1]) == even

    def test_power_and_amplitude(self):
        """TDAS-8: a gain changes powers by its square, so what the root leaves is the root of ratio times rest."""
        left, printed = (drawn("TDAS-8", form, 4.0)[1] for form in ("used", "printed"))
        ratio = 1 + 4.0 * (np.arange(errata.SIDE) / (errata.SIDE - 1)) ** 2
        np.testing.assert_allclose(left**2, ratio * printed, rtol=1e-9)

    def test_the_operator_and_its_inverse(self):
        """PDS-2: they undo one another, and the operator damps high frequencies."""
        mask, inverse = (drawn("PDS-2", form, 5.0)[1] for form in ("printed", "used"))
        np.testing.assert_allclose(mask * inverse, 1)
        assert (np.diff(mask) < 0).all()

    def test_rotation(self):
        """PDS-8: SciPy's Lyapunov solver."""

        def variance(speed):
            m = np.diag([1.0, 2.0])
            drift = m @ m @ (speed * np.array([[0, 1], [-1, 0]]) - np.eye(2))
            return linalg.solve_continuous_lyapunov(drift, -2 * m @ m)[0, 0]

        speeds, used = drawn("PDS-8", "used", 2.0)
        np.testing.assert_allclose(used, [variance(speed) for speed in speeds], rtol=1e-9)
        assert used[-1] < 0.7 and np.allclose(drawn("PDS-8", "printed", 2.0)[1], 1)

    def test_progressive_schedule(self):
        """PD-1: the library's schedule of t^ steps; the text's reading has one more and ends at the same place."""
        for length in (5, 6, 9):
            used, printed = (drawn("PD-1", form, length)[1] for form in ("used", "printed"))
            steps = len(used) - 1
            lengths = sch.progressive_lengths(steps)
            assert length in lengths and len(printed) == len(used) + 1 and printed[-1] == used[-1]
            if length in (lengths[0], lengths[-1]):
                tie = "smallest" if length == lengths[0] else "largest"
                np.testing.assert_allclose(used, sch.progressive(steps, tie=tie).alpha_bars)


def test_what_the_page_gets_is_plain_and_small():
    """Numbers that JSON knows, at most 200 kB in all, and the same whether abscissas are shared or not."""
    pages = {row: errata.drawn(entry) for row, entry in errata.MISPRINTS.items()}
    assert len(json.dumps(pages, allow_nan=False)) < 200_000
    own = pages["PD-1"]
    assert own["x"] is None and len(own["lines"]["used"][0]) == 2
    shared = pages["SD-1"]
    np.testing.assert_allclose(shared["lines"]["used"][3], drawn("SD-1", "used", shared["values"][3])[1], rtol=5e-3)
