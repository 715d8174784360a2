"""Predictions that are given the power they have on real noisy images."""

from dataclasses import replace

import pytest
import torch

from fewsteps import samplers, spectra, trained, transforms
from fewsteps.denoisers import Corrected, Gaussian, matching_gain
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.experiments import filtering, pixels, prediction, sampling
from fewsteps.experiments.sampling import Plan, draw, sample
from fewsteps.schedules import VE, geometric

POWER = 1 / (1 + spectra.square_distance((8, 8), "dct"))
SCHEDULE = VE(0.02, 10.0)
TIMES = geometric(SCHEDULE, 6)
AROUND = torch.full((1, 8, 8), 0.4, dtype=torch.float64)


class Coloured(Gaussian):
    """The exact denoiser of images with the spectrum POWER about AROUND."""

    def mean(self, x, t, cond=None):
        spread = POWER / (POWER + float(t) ** 2)
        return transforms.idct2(spread * transforms.dct2(x - AROUND)) + AROUND


def exact():
    return Coloured(SCHEDULE, torch.ones(1, 8, 8, dtype=torch.float64))


def wanted(t):
    return POWER**2 / (POWER + float(t) ** 2)


def run(model, sampler=samplers.ve_ancestral, count=4000, **named):
    noise = samplers.white_noise(0, dtype=torch.float64)
    *_, end = sampler(model, (count, 1, 8, 8), TIMES, noise=noise, **named)
    return end.x


def test_a_gain_of_one_changes_nothing():
    ones = [torch.ones(8, 8)] * 6
    assert torch.allclose(run(Corrected(exact(), ones, AROUND), count=4), run(exact(), count=4), atol=1e-12)


def test_only_what_is_not_the_mean_is_multiplied():
    halved = Corrected(exact(), [torch.full((8, 8), 0.5)], AROUND)
    x = AROUND + torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(halved.mean(x, 0.3) - AROUND, (exact().mean(x, 0.3) - AROUND) / 2)
    assert torch.allclose(halved.around, AROUND)
    with pytest.raises(ShapeError, match="gains for 1 network calls"):
        halved.mean(x, 0.3)


def test_the_gain_undoes_a_known_loss():
    """A model that loses a fifth of every high frequency: the matching gain is what makes it whole again."""
    loss = torch.where(spectra.square_distance((8, 8), "dct") > 9, 0.8, 1.0).double()
    lossy = [Corrected(exact(), [loss] * 6, AROUND) for _ in range(3)]
    found = []

    def match(k, t, power):
        found.append(matching_gain(power, wanted(t), POWER, floor=1e-9))
        return found[-1]

    power = lambda x: transforms.dct2(x - AROUND).square().mean((0, 1))  # noqa: E731
    # What 4000 images leave open, 2 parts in 63, with room for the worst of 64 frequencies.
    assert torch.allclose(power(run(Corrected(lossy[0], match, AROUND))) / POWER, torch.ones(()).double(), atol=0.12)
    # The first state is a real noisy image; later ones lack what ancestral sampling leaves out too.
    assert torch.allclose(found[0], 1 / loss, rtol=0.06)
    assert float((torch.stack(found) * loss).min()) > 0.9
    again = power(run(Corrected(lossy[1], found, AROUND)))
    assert torch.allclose(again / POWER, torch.ones(()).double(), atol=0.12)
    assert float((power(run(lossy[2])) / POWER)[loss < 1].mean()) < 0.75


def test_noise_of_too_much_power_is_seen_in_the_prediction():
    """Reverse diffusion's excess, which TDAS filters: the matching gain is below 1 and takes most of it away."""
    found = []

    def match(k, t, power):
        found.append(matching_gain(power, wanted(t), POWER, floor=1e-9))
        return found[-1]

    excess = lambda x: float((transforms.dct2(x - AROUND).square().mean((0, 1)) / POWER).mean())  # noqa: E731
    plain = excess(run(exact(), samplers.predictor_corrector, corrections=0))
    better = excess(run(Corrected(exact(), match, AROUND), samplers.predictor_corrector, corrections=0))
    assert plain > 2.0
    assert abs(better - 1) < 0.2 * (plain - 1)
    assert float(torch.stack(found)[1:].mean()) < 1


def test_where_nothing_is_known_the_gain_is_one():
    data = torch.tensor([1.0, 1.0, 0.0])
    gain = matching_gain(torch.tensor([1e-6, 0.5, 0.0]), torch.tensor([1e-5, 0.98, 0.0]), data)
    assert gain.tolist() == pytest.approx([1.0, 1.3806, 1.0], abs=1e-3)
    assert float(matching_gain(torch.zeros(()), torch.ones(()), torch.ones(()))) == 2.0


class TestOnANetwork:
    plan = Plan("digits", "ancestral", 6, count=200, seed=5)

    def test_the_power_of_what_comes_out_is_right(self):
        """On other seeds than the gains were found on; a filter on the noise left alone."""
        power = pixels.read("digits", 8).power("dct")

        def off(how):
            images = sample(replace(self.plan, prediction=how)).images.double()
            ratio = filtering.on_rings(spectra.power_spectrum(images, "dct")) / filtering.on_rings(power)
            return float(ratio[:6].log().abs().mean())

        plain, corrected = off("as it is"), off("by frequency")
        assert corrected < 0.5 * plain

    def test_scaled_is_one_number_per_call(self):
        model = trained.load("digits")
        found = prediction.Matching(prediction.ideal(model, VE()), "scaled")
        found(0, 1.0, torch.full((8, 8), 0.01, dtype=torch.float64))
        assert float(found.gains[0].std()) == 0

    def test_the_gains_do_not_depend_on_the_shard(self):
        """PDS-9: images of one plan are the same however they are cut, since the gains are those of the plan."""
        model = trained.load("digits")
        plan = replace(self.plan, prediction="by frequency", count=8)
        second = draw(model, plan, 1).images
        sampling._matched.clear()
        first = draw(model, plan, 0).images
        sampling._matched.clear()
        assert torch.equal(draw(model, plan, 1).images, second)
        assert not torch.equal(first, second)
        assert torch.allclose(draw(model, plan, 0, batch=3).images, first, atol=1e-5)

    @pytest.mark.parametrize("sampler", ["heun", "pc", "dpmpp_2m", "reverse", "ddim"])
    def test_every_sampler_counts_its_calls(self, sampler):
        plan = replace(self.plan, sampler=sampler, prediction="scaled", count=4)
        assert sample(plan).nfe == sample(replace(plan, prediction="as it is")).nfe

    def test_with_a_filter_as_well(self):
        filt = {"kind": "scalar", "lam": 0.9}
        one = sample(replace(self.plan, prediction="by frequency", filt=filt, count=4)).images
        assert not torch.equal(one, sample(replace(self.plan, prediction="by frequency", count=4)).images)

    def test_unknown(self):
        with pytest.raises(ParameterError, match="prediction must be one of as it is, by frequency, scaled"):
            replace(self.plan, prediction="better")
        with pytest.raises(ParameterError, match="predictions of one class cannot be corrected"):
            replace(self.plan, prediction="scaled", labels=8)
