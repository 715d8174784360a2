"""What chapter 12 does with a model that was made elsewhere."""

import re
from dataclasses import replace

import pytest
import torch

from fewsteps import denoisers, filters, metrics, spectra
from fewsteps import schedules as sch
from fewsteps.errors import ParameterError
from fewsteps.experiments import families, foreign, prediction

VE = sch.VE(0.01, 20.0)
SHAPE = (1, 16, 16)


def model():
    """Grey noise of small spread around .5, exactly known: clipping to [0, 1] does nothing to it."""
    return denoisers.Gaussian(VE, torch.full((16, 16), 0.01, dtype=torch.float64), torch.full((16, 16), 0.5))


def real(count=512):
    generator = torch.Generator().manual_seed(7)
    return 0.5 + 0.1 * torch.randn((count, *SHAPE), generator=generator)


@pytest.mark.parametrize("name", foreign.RUNS)
def test_every_run_spends_its_calls_and_no_more(name):
    """TDAS-11: equal network calls, whatever a step costs."""
    calls = []

    class Counting:
        schedule = VE

        def mean(self, x, t, cond=None):
            calls.append(float(t))
            return model().mean(x, t)

        def draw(self, x, t, cond=None, noise=None):
            return self.mean(x, t)

    made = foreign.images(Counting(), SHAPE, foreign.RUNS[name], 21, count=2, seed=0)
    assert made.shape == (2, *SHAPE) and float(made.min()) >= 0 and float(made.max()) <= 1
    assert len(calls) == 21 // foreign.RUNS[name].per_step * foreign.RUNS[name].per_step


def test_too_few_calls_for_a_step_are_refused():
    with pytest.raises(ParameterError, match="nfe must be an integer of at least 2"):
        foreign.images(model(), SHAPE, foreign.PC, 1, count=1, seed=0)


def test_excess_is_the_ratio_of_powers_and_the_rule_follows_it():
    """TDAS-7, TDAS-8: twice the deviation is four times the power; no filter where there is nothing to mend."""
    given = real()
    ratio = foreign.excess(0.5 + 2 * (given - 0.5), spectra.power_spectrum(given.double(), "dct"))
    assert torch.allclose(ratio.flatten()[1:], torch.full((255,), 4.0, dtype=torch.float64))
    frequency, power = foreign.by_ring(ratio)
    assert power.tolist() == pytest.approx([4.0] * len(power)) and float(frequency[-1]) == pytest.approx(0.5, abs=0.04)
    rising = 1 + spectra.radius((16, 16), "dct")
    made = foreign.automatic(rising)
    assert made is not None and float(made.frequency.exact.min()) < 1
    assert foreign.automatic(rising.flip(0, 1)) is None


def test_the_comparison_prefers_what_is_nearer_and_chooses_on_other_seeds():
    """TDAS-8, TDAS-11: few steps of reverse diffusion leave noise; a second-order solver does not."""

    def features(images):
        return images.flatten(1)[:, :8].double()

    power, known = spectra.power_spectrum(real().double(), "dct"), metrics.Moments.of(features(real()))
    found = foreign.compare(
        model(),
        SHAPE,
        12,
        power,
        known,
        known,
        features,
        count=400,
        seeds=(0, 1),
        samples=100,
        trial=200,
    )
    means = [mean for _, mean, _ in found.rows]
    assert means == sorted(means) and found.nfe == 12
    rows = {name: mean for name, mean, _ in found.rows}
    assert set(foreign.RUNS) | {foreign.SCALAR, foreign.ZONE} <= set(rows)
    assert rows["DPM-Solver++(2M)"] < rows["reverse diffusion"]
    assert (foreign.RULE in rows) == found.rule.startswith("says λ = ")

    def distance(lam):
        run = replace(foreign.PC, filt=filters.scalar(lam))
        made = foreign.images(model(), SHAPE, run, 12, count=200, seed=3)
        return metrics.frechet(metrics.Moments.of(features(made)), known)

    best = float(re.fullmatch(r"predictor-corrector, best scalar: lam = ([\d.]+)(?: \(.*\))?", found.searched[0])[1])
    others = families.FAMILIES["scalar"]["coarse"]["lam"]
    assert distance(best) <= min(map(distance, others))
    assert rows[foreign.ZONE] < rows["predictor-corrector"]


def test_predictions_put_right_give_the_images_their_power():
    """BEST-6: few ancestral steps lose power, and one gain per ring and call gives it back, on other seeds."""
    ideal = prediction.ideal_of(model(), real(1024))
    run, power = foreign.RUNS["VE ancestral"], spectra.power_spectrum(real().double(), "dct")
    found = foreign.gains(model(), SHAPE, run, 6, ideal, "by frequency", count=512)
    assert len(found) == 6 and found[0].shape == SHAPE[1:]

    def ratio(denoiser):
        made = foreign.images(denoiser, SHAPE, run, 6, count=512, seed=1)
        return float(foreign.by_ring(foreign.excess(made, power))[1].mean())

    plain, corrected = ratio(model()), ratio(denoisers.Corrected(model(), found, ideal.around))
    assert plain < 0.9 and abs(corrected - 1) < 0.2 * (1 - plain)


def test_the_verdict_says_what_the_table_does():
    rows = [
        ("predictor-corrector", 1.0, 0.05), ("reverse diffusion", 2.0, 0.1), ("VE ancestral", 0.5, 0.05),
        ("DPM-Solver++(2M)", 0.2, 0.05), (foreign.SCALAR, 0.62, 0.05),
        (foreign.ZONE, 0.4, 0.05),
    ]  # fmt: skip
    assert "gives no filter" in foreign.verdict(rows)
    said = foreign.verdict([*rows, (foreign.RULE, 0.6, 0.05)])
    assert said == (
        "at this budget the filter by the rule is better than no filter, worse than the best zone, not apart from the "
        "best scalar and worse than DPM-Solver++(2M)."
    )


def test_the_verdict_on_corrected_predictions_says_what_the_table_does():
    """BEST-6."""
    rows = [("VE ancestral", 1.0, 0.1), ("DPM-Solver++(2M)", 0.4, 0.1), (foreign.ZONE, 0.62, 0.1)]
    assert foreign.verdict_corrected(rows) == "predictions were not corrected in this table."
    scaled, corrected = foreign.PREDICTIONS
    assert foreign.verdict_corrected([*rows, (scaled, 0.72, 0.1), (corrected, 0.6, 0.05)]) == (
        "ancestral sampling with corrected predictions is better than predictions as they are, not apart from one gain "
        "per call, not apart from predictor-corrector, best TDAS and worse than DPM-Solver++(2M)."
    )


def test_what_needs_no_search_is_judged_by_more_images():
    """BEST-6."""
    known = metrics.Moments.of(real().flatten(1)[:, :8].double())
    ideal = prediction.ideal_of(model(), real(256))
    found = foreign.unfiltered(
        model(), SHAPE, 6, known, lambda x: x.flatten(1)[:, :8].double(), ideal, count=256, seeds=(0, 1)
    )
    names = [name for name, *_ in found.rows]
    assert set(names) == {"VE ancestral", "DPM-Solver++(2M)", *foreign.PREDICTIONS} and found.count == 256
    assert names.index("VE ancestral") > names.index("VE ancestral, predictions corrected")
    assert "one gain per call and" in foreign.verdict_corrected(found.rows)


def test_what_was_measured_is_of_the_shipped_pipeline():
    """TDAS-8: every way to sample, at both budgets, the nearest first."""
    found = foreign.measured()
    assert [said.nfe for said in found] == [20, 100]
    for said in found:
        means = [mean for _, mean, _ in said.rows]
        assert means == sorted(means) and set(foreign.RUNS) | {foreign.SCALAR, foreign.ZONE} <= {
            name for name, *_ in said.rows
        }
        assert len(said.searched) == 2 and foreign.verdict(said.rows).endswith(".")
