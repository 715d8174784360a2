"""The response of denoisers that are known exactly, against the Wiener filter and closed forms."""

import pytest
import torch

from fewsteps import denoisers, errors, samplers, schedules, spectra
from fewsteps.experiments.response import response

SIZE = 8
POWER = 1 / (0.1 + spectra.radius((SIZE, SIZE), "dct").square() * 40)
MIDDLE = 0.3


@pytest.fixture(scope="module")
def images():
    """Gaussian images with that spectrum."""
    from fewsteps.transforms import idct2

    z = torch.randn(4000, 1, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return MIDDLE + idct2(POWER.sqrt() * z)


@pytest.mark.parametrize("schedule", [schedules.VE(), schedules.VPLinear()])
def test_the_exact_gaussian_denoiser_is_its_wiener_filter(schedule, images):
    """Source: SD-1, proposition 1."""
    exact = denoisers.Gaussian(schedule, POWER, MIDDLE, basis="dct")
    t = schedule.time(1.0)
    found = response(exact, images, float(t), noise=samplers.white_noise(1, dtype=torch.float64))
    # Both are estimates from the same images, whose sample spectrum differs from POWER by sqrt(2 / 4000).
    torch.testing.assert_close(found.gain, found.wiener, rtol=0, atol=0.02)
    torch.testing.assert_close(found.error, found.wiener_error, rtol=0.06, atol=0)
    rings = spectra.radial_mean(POWER, "dct").power[1:]
    torch.testing.assert_close(found.wiener, rings / (rings + 1), rtol=0, atol=0.02)
    assert found.total == pytest.approx(found.wiener_total, rel=0.03)


def test_a_denoiser_that_recognises_has_the_same_linear_part_and_less_error():
    """Two images told apart at once: far from linear, and the linear part is Wiener's all the same (SD-1)."""
    generator = torch.Generator().manual_seed(0)
    pair = torch.rand(2, 1, SIZE, SIZE, dtype=torch.float64, generator=generator)
    schedule = schedules.VE()
    exact = denoisers.Empirical(schedule, pair)
    found = response(exact, pair.repeat(1000, 1, 1, 1), 0.5, noise=samplers.white_noise(1, dtype=torch.float64))
    torch.testing.assert_close(found.gain, found.wiener, rtol=0, atol=0.03)
    assert found.total < 0.2 * found.wiener_total


def test_an_estimate_of_nothing_and_one_of_everything(images):
    class Same(denoisers.MeanOnly):
        schedule = schedules.VE()

        def mean(self, x, t, cond=None):
            return x

    class Nothing(Same):
        def mean(self, x, t, cond=None):
            return torch.full_like(x, MIDDLE)

    noise = samplers.white_noise(1, dtype=torch.float64)
    kept, dropped = (response(model(), images[:500], 1.0, noise=noise) for model in (Same, Nothing))
    torch.testing.assert_close(kept.gain, torch.ones_like(kept.gain), rtol=1e-9, atol=0)
    torch.testing.assert_close(kept.error, 1 / power_by_ring(images[:500]), rtol=0.1, atol=0)
    assert dropped.total == pytest.approx(1, abs=0.02)
    assert float(dropped.gain.abs().max()) < 0.05


def power_by_ring(images):
    middle = images.double().mean(0)
    return spectra.radial_mean(spectra.power_spectrum(images - middle, "dct"), "dct").power[1:]


def test_refusals(images):
    model = denoisers.Gaussian(schedules.VE(), POWER, basis="dct")
    noise = samplers.white_noise(0, dtype=torch.float64)
    with pytest.raises(errors.ShapeError, match="at least two images"):
        response(model, images[:1], 1.0, noise=noise)
    with pytest.raises(errors.ParameterError, match="draws"):
        response(model, images[:4], 1.0, noise=noise, draws=0)
