"""Spectra: known answers, brute force, and the properties that the chapters rely on."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewsteps import spectra
from fewsteps.transforms import fft2, ifft2


def noise(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def coloured(exponent, size, count, seed=0):
    """Periodic Gaussian fields of power 1 / f**exponent (cycles per pixel), zero mean."""
    frequency = spectra.radius((size, size))
    frequency[0, 0] = math.inf
    spectrum = frequency ** (-exponent / 2)
    return ifft2(fft2(noise((count, size, size), seed)) * spectrum).real


@pytest.mark.parametrize(("basis", "window"), [("dct", None), ("dft", None), ("dft", "hann")])
def test_white_noise_is_flat_in_every_basis(basis, window):
    """TDAS-7: phi of unit noise is 1 everywhere, tapered or not, within its own standard error."""
    count = 4000
    phi = spectra.power_spectrum(noise((count, 8, 8)), basis, window=window)
    # |X|^2 has variance at most 2, so the mean of 64 values over 4000 samples stays within 5 standard errors.
    assert (phi - 1).abs().max() < 5 * math.sqrt(2 / count)


def test_power_of_one_cosine_is_where_it_should_be():
    rows = torch.arange(16, dtype=torch.float64)
    x = torch.cos(2 * math.pi * 3 * rows / 16).repeat(16, 1)
    phi = spectra.power_spectrum(x)
    assert phi.argmax() in (3, 13) and math.isclose(phi[0, 3], 16 * 16 / 4)  # two equal but for rounding
    assert math.isclose(spectra.radius((16, 16))[0, 3], 3 / 16)
    x = torch.cos(math.pi * 5 * (rows + 0.5) / 16).repeat(16, 1)
    phi = spectra.power_spectrum(x, "dct")
    assert phi.argmax() == 5 and math.isclose(phi[0, 5], 16 * 16 / 2)
    assert math.isclose(spectra.radius((16, 16), "dct")[0, 5], 5 / 32)


@given(st.integers(2, 20), st.integers(2, 20), st.sampled_from(["dct", "dft"]), st.integers(1, 12))
def test_radial_mean_matches_a_loop(height, width, basis, bins):
    """SD-1: brute force over bins, and the ring of a constant is the constant."""
    power = noise((height, width)).square() + 0.1
    got = spectra.radial_mean(power, basis, bins=bins)
    distance = spectra.radius((height, width), basis)
    rings = {}
    for index in np.ndindex(height, width):
        ring = round(float(distance[index]) * 2 * bins)
        if ring <= bins:
            rings.setdefault(ring, []).append((float(distance[index]), float(power[index])))
    expected = [(np.mean([d for d, _ in v]), np.mean([p for _, p in v]), len(v)) for _, v in sorted(rings.items())]
    assert np.allclose(np.array(expected).T, torch.stack([got.frequency, got.power, got.count.double()]).numpy())


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0])
def test_power_law_is_found(exponent):
    """SD-1: the exponent of a field that was made with it."""
    fields = coloured(exponent, 128, 24)
    fit = spectra.fit_power_law(spectra.radial_mean(spectra.power_spectrum(fields)))
    assert abs(fit.exponent - exponent) < 0.03 and fit.r_squared > 0.995
    assert abs(float(fit(torch.tensor(0.1))) / 0.1**-exponent - 1) < 0.05


def test_window_is_needed_for_steep_spectra_that_do_not_wrap():
    """SD-1: cut from a larger field, 1 / f^4 looks like 1 / f^3 without a taper: the frame's edges."""
    cut = coloured(4.0, 256, 24)[:, :96, :96]

    def exponent(window):
        spectrum = spectra.radial_mean(spectra.power_spectrum(cut, window=window, centred=True))
        return spectra.fit_power_law(spectrum, 0.05, 0.4).exponent

    assert abs(exponent("hann") - 4) < 0.15
    assert abs(exponent(None) - 3) < 0.3


def test_ratio_and_kappa_by_hand():
    """TDAS-7: Eq. 7 and kappa on an array small enough to write down."""
    gamma = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert torch.equal(spectra.ratio(gamma * 2, torch.full((2, 2), 2.0)), gamma)
    # squared distances 0, 1, 1, 2; with H = 2 the threshold is 2 (2 r)^2 = 8 r^2
    radii = torch.tensor([0.0, 0.2, 0.36, 0.5])
    assert torch.allclose(spectra.kappa(gamma, radii), torch.tensor([12 / 4, 11 / 3, 6.0, 6.0]))


@given(st.integers(2, 12), st.integers(2, 12), st.sampled_from(["dct", "dft"]), st.floats(0, 1))
def test_kappa_matches_a_mask(height, width, basis, share):
    """TDAS-7: the cumulative sum against the definition, to the very end of its range."""
    gamma = noise((height, width)).exp()
    r = share * spectra.kappa_end((height, width), basis)
    rows, columns = torch.arange(height).double(), torch.arange(width).double()
    if basis == "dft":
        rows, columns = torch.minimum(rows, height - rows), torch.minimum(columns, width - columns)
    distance = rows.square()[:, None] + columns.square()
    expected = gamma[distance >= 2 * (r * height) ** 2 * (1 - 1e-12)].mean()
    assert torch.allclose(spectra.kappa(gamma, r, basis), expected)


@pytest.mark.parametrize(("basis", "end"), [("dct", 63 / 64), ("dft", 0.5)])
def test_kappa_ends_before_the_printed_range(basis, end):
    """TDAS-7: A.3 prints r up to sqrt(W^2 + H^2); the distances end near sqrt((H^2 + W^2) / 2), H / 2 for the DFT."""
    assert math.isclose(spectra.kappa_end((64, 64), basis), end)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40), st.floats(0.001, 1))
def test_quantile_is_the_definition(values, a):
    """TDAS-7: the smallest x of S with #{y <= x} >= a #S."""
    tensor = torch.tensor(values, dtype=torch.float64)
    enough = [x for x in values if sum(y <= x for y in values) >= a * len(values) - 1e-9]
    assert spectra.quantile(tensor, a) == min(enough)


def test_band_error_sees_the_band_that_was_changed():
    """SD-3: doubling one high frequency moves the high error alone, by its magnitude over the band's size."""
    x = noise((6, 32, 32))
    spectrum = torch.fft.fft2(x, norm="ortho")
    spectrum[:, 10, 4] *= 2
    spectrum[:, -10, -4] *= 2
    changed = torch.fft.ifft2(spectrum, norm="ortho").real
    error = spectra.band_error(changed, x)
    magnitude = torch.fft.fft2(x, norm="ortho")[:, 10, 4].abs().mean()
    high = int((spectra.radius((32, 32)) > 28 / 256).sum())
    assert error.low < 1e-12
    assert math.isclose(error.high, 2 * magnitude / high, rel_tol=1e-9)
    assert spectra.band_error(x, x) == (0, 0)


@pytest.mark.parametrize("basis", ["dct", "dft"])
def test_the_power_of_every_image_averages_to_that_of_all(basis):
    """SD-1: one radial spectrum per image, and each is that of the image alone."""
    images = torch.rand(5, 3, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    each = spectra.radial_powers(images, basis)
    assert torch.allclose(each.mean(0), spectra.radial_power(images, basis))
    assert torch.allclose(each[2], spectra.radial_power(images[2], basis))
