"""The noise operator: an operator with a transpose and an inverse, the papers' masks, and one transform per draw."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewsteps import filters, spectra, transforms
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.filters import IDENTITY, Filter, Solenoid


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def white(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def even(shape, seed=0):
    mask = torch.rand(shape, generator=rng(seed), dtype=torch.float64) + 0.2
    return (mask + mask.flip(-2, -1).roll((1, 1), (-2, -1))) / 2


def some(shape, basis, order, *, space=True, drift=True):
    frequency = even(shape, 1)
    pixels = torch.rand(shape, generator=rng(2), dtype=torch.float64) + 0.3 if space else None
    return Filter(frequency, pixels, basis=basis, order=order, drift=drift)


def matrix(operator, shape):
    """The operator as a matrix, column by column."""
    n = math.prod(shape)
    return operator(torch.eye(n, dtype=torch.float64).reshape(n, *shape)).reshape(n, n).mT


KINDS = [(basis, order) for basis in ("dct", "dft") for order in ("space last", "space first")]


@pytest.mark.parametrize(("basis", "order"), KINDS)
@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 7)])
def test_transpose_inverse_and_drift(basis, order, shape):
    """PDS-1, PDS-2: <M x, y> = <x, M^T y>; M^-1 M = 1; the drift is M M^T, symmetric and positive."""
    m = some(shape, basis, order)
    a, transposed = matrix(m.apply, shape), matrix(m.transpose, shape)
    assert (a.mT - transposed).abs().max() < 1e-13
    assert (matrix(m.inverse().apply, shape) @ a - torch.eye(len(a))).abs().max() < 1e-12
    drift = matrix(m.precondition, shape)
    assert (drift - a @ a.mT).abs().max() < 1e-13
    assert (drift - drift.mT).abs().max() < 1e-13
    assert torch.linalg.eigvalsh(drift).min() > 0
    plain = some(shape, basis, order, space=False)
    b = matrix(plain.apply, shape)
    assert (matrix(plain.precondition, shape) - b @ b.mT).abs().max() < 1e-13
    assert torch.equal(some(shape, basis, order, drift=False).precondition(a), a)


@pytest.mark.parametrize(("basis", "order"), KINDS)
@pytest.mark.parametrize("space", [False, True])
def test_noise_has_the_law_of_the_operator(basis, order, space):
    """TDAS-3, PDS-1: what `noise` does to white noise has the covariance M M^T, exactly."""
    m = some((5, 6), basis, order, space=space)
    drawn, applied = matrix(m.noise, (5, 6)), matrix(m.apply, (5, 6))
    assert (drawn @ drawn.mT - applied @ applied.mT).abs().max() < 1e-13


def test_filtered_noise_takes_one_transform(monkeypatch):
    """TDAS-3: with M_space = 1 one cosine transform or one FFT; with a mask over pixels first, two."""
    calls = []

    def counted(transform):
        return lambda *given: (calls.append(1), transform(*given))[1]

    for name in ("dct2", "idct2", "from_basis"):
        monkeypatch.setattr(filters.operator, name, counted(getattr(transforms, name)))
    z = white(2, 8, 8)
    filters.tdas((8, 8), 0.5, 0.3).noise(z)
    assert len(calls) == 1
    filters.tdas((8, 8), 0.5, 0.3, "dft").noise(z)
    assert len(calls) == 2
    filters.tdas((8, 8), 0.5, 0.3, space=torch.rand(8, 8) + 0.1).noise(z)
    assert len(calls) == 4
    filters.scalar(0.7).noise(z)
    assert len(calls) == 4


def test_imaginary_part_is_zero_for_even_masks_alone():
    """TDAS-5, PDS-4: M z is real for 0-based masks; with PDS' indices from 1 the centre is off and M z is complex."""
    z = white(6, 8)

    def imaginary(mask):
        return float(transforms.ifft2(mask * transforms.fft2(z)).imag.abs().max())

    for built in (
        filters.tdas((6, 8), 0.5, 0.2, "dft"),
        filters.pds_radial((6, 8), 0.2, 1.6),
        filters.pds_radial((6, 8), 0.2, 1.6, layout="unshifted"),
        filters.pds_from_data(white(20, 1, 6, 8, seed=3).abs(), 5),
    ):
        mask = built.frequency.exact.squeeze(0) if built.frequency.exact.ndim == 3 else built.frequency.exact
        assert imaginary(mask) < 1e-15
        assert (built.apply(z.expand(1, 6, 8)) - transforms.ifft2(mask * transforms.fft2(z)).real).abs().max() < 1e-14
    rows, columns = torch.arange(1, 7.0)[:, None] - 3, torch.arange(1, 9.0) - 4
    printed = torch.where(rows**2 + columns**2 <= 2 * 1.2**2, 1.0, 1.6)
    assert imaginary(torch.fft.ifftshift(printed)) > 0.01
    with pytest.raises(ShapeError, match="even for the DFT"):
        Filter(torch.fft.ifftshift(printed), basis="dft")


def test_identity_changes_no_bit():
    """TDAS-3: the original sampling is the special case of all-one masks."""
    z = white(2, 3, 8, 8)
    for same in (IDENTITY.apply, IDENTITY.noise, IDENTITY.transpose, IDENTITY.precondition):
        assert same(z) is z
    ones = filters.tdas((8, 8), 1.0, 0.3)
    assert (ones.apply(z) - z).abs().max() < 1e-14


def test_zones_are_the_papers():
    """TDAS-4, TDAS-5: Eq. 6 and Eq. 8 pixel by pixel, any number of zones, and r1 > r2 as Fig. 11 uses it."""
    size = 16
    for basis in ("dct", "dft"):
        mask = filters.zone_mask((size, size), (0.9, 0.6, 0.3), (0.2, 0.3, 0.41), basis)
        for h in range(size):
            for w in range(size):
                a, b = (min(h, size - h), min(w, size - w)) if basis == "dft" else (h, w)
                d = a * a + b * b
                expected = next((g for g, r in ((1, 0.2), (0.9, 0.3), (0.6, 0.41)) if d <= 2 * (r * size) ** 2), 0.3)
                assert mask[h, w] == expected
    for height, width in ((10, 16), (16, 10)):  # radii are in units of the height
        wide = filters.zone_mask((height, width), 0.5, 0.4)
        for h in range(height):
            for w in range(width):
                assert wide[h, w] == (1 if h * h + w * w <= 2 * (0.4 * height) ** 2 else 0.5)
    assert filters.zone_mask((8, 16), 0.5, 1.5)[7, 15] == 1
    with pytest.raises(ParameterError, match="units of the height"):
        filters.zone_mask((8, 16), 0.5, 1.6)
    assert torch.equal(filters.zone_mask((8, 8), (0.9, 0.6), (0.4, 0.2)), filters.zone_mask((8, 8), 0.6, 0.4))
    exact = filters.zone_mask((10, 10), 0.5, math.sqrt(0.5) * 0.3)  # 2 r^2 H^2 = 9: the ring of distance 3
    assert exact[3, 0] == 1 and exact[3, 1] == 0.5


def test_pds_masks_are_the_papers():
    """PDS-4, PDS-5: the centred mask is low-pass, the same array unshifted is not; Eq. 22 by hand."""
    centred = filters.pds_radial((8, 8), 0.2, 1.6).frequency.exact
    by_hand = torch.full((8, 8), 1.6, dtype=torch.float64)
    for h in range(8):
        for w in range(8):
            if (h - 4) ** 2 + (w - 4) ** 2 <= 2 * 1.6**2:
                by_hand[h, w] = 1
    assert torch.equal(torch.fft.fftshift(centred), by_hand)
    assert torch.equal(filters.pds_radial((8, 8), 0.2, 1.6, layout="unshifted").frequency.exact, by_hand)
    assert centred[0, 0] == 1 and by_hand[0, 0] == 1.6
    images = white(50, 2, 8, 8, seed=4)
    power = torch.fft.fft2(images).abs().square().mean(0)
    log = torch.log(1 + power)
    built = filters.pds_from_data(images, 5)
    assert (built.frequency.exact - (log / log.max() + 4) / 5).abs().max() < 1e-12
    assert built.drift and built.basis == "dft"
    inverse = filters.pds_from_data(images, 5, direction="M_inv")
    assert (inverse.frequency.exact * built.frequency.exact - 1).abs().max() < 1e-14
    assert (filters.pds_mask(power, 5) - (log / log.max() + 4) / 5).abs().max() < 1e-14


def test_space_masks_are_the_papers():
    """TDAS-6, PDS-6: both normalisations by hand."""
    images = torch.rand(9, 3, 4, 4, generator=rng(), dtype=torch.float64)
    rho = torch.log(1 + images.mean(0))
    assert (filters.space_from_data(images) - (2 * rho / rho.max() + 1) / 3).abs().max() < 1e-15
    mean = images.mean(0)
    assert torch.equal(filters.space_from_data(images, "pds"), mean / mean.max())
    square = images.square().mean(0)
    assert torch.equal(filters.space_from_data(images, "pds released"), square / square.max())


def test_automatic_zones_undo_a_step():
    """TDAS-8: on a ratio with two steps the radii are where kappa first reaches the quantiles, as brute force finds."""
    squared = spectra.square_distance((16, 16))
    gamma = 1 + 0.5 * (squared > 60) + 0.5 * (squared > 200)
    zones = filters.tdas_zones(gamma)
    values = sorted(gamma.flatten().tolist())
    for a, lam, r in zip((0.75, 0.9), zones.lam, zones.r, strict=True):
        level = values[math.ceil(a * len(values)) - 1]
        assert lam == pytest.approx(float(gamma.mean()) / level)
        for d in squared.flatten().unique().tolist():
            if d and float(gamma[squared >= d].mean()) >= level:
                break
        assert r == pytest.approx(math.sqrt(d / 2) / 16)
    root = filters.tdas_zones(gamma, amplitude=True)
    assert root.r == zones.r
    assert [v**2 for v in root.lam] == pytest.approx(zones.lam)
    falling = filters.tdas_zones(1 / gamma, quantiles=(0.25, 0.1))
    assert all(lam > 1 for lam in falling.lam)
    values = sorted((1 / gamma).flatten().tolist())
    for a, r in zip((0.25, 0.1), falling.r, strict=True):
        level = values[math.ceil(a * len(values)) - 1]
        rings = [d for d in squared.flatten().unique().tolist() if d]
        d = next(d for d in rings if float((1 / gamma)[squared >= d].mean()) <= level * (1 + 1e-12))
        assert r == pytest.approx(math.sqrt(d / 2) / 16) and d > rings[0]
    wide = filters.tdas_zones(1 + 0.5 * (spectra.square_distance((8, 16)) > 60), quantiles=(0.9,))
    assert wide.r[0] == pytest.approx(math.sqrt(61 / 2) / 8)  # in units of the height
    assert torch.equal(
        filters.tdas_auto(gamma).frequency.exact, filters.tdas((16, 16), zones.lam, zones.r).frequency.exact
    )
    with pytest.raises(ParameterError, match="never rises"):
        filters.tdas_zones(1 / gamma)


def test_optimal_filter_and_scalar():
    """TDAS-7: M^2 gamma = 1; and a scalar is a filter of any size."""
    gamma = torch.rand(8, 8, generator=rng(), dtype=torch.float64) + 0.5
    assert (filters.optimal(gamma).frequency.exact ** 2 * gamma - 1).abs().max() < 1e-14
    half = filters.scalar(0.5, drift=True)
    for shape in ((2, 3), (1, 3, 5, 5)):
        z = white(*shape)
        assert torch.equal(half.apply(z), z / 2) and torch.equal(half.noise(z), z / 2)
        assert torch.equal(half.precondition(z), z / 4)


def test_placement():
    """PDS-3: `at` moves a filter and changes nothing else; by default it acts on all noise."""
    m = filters.pds_radial((8, 8), 0.2, 1.6)
    assert all(m.acts(place) for place in filters.PLACES)
    moved = m.at("corrector", drift=False)
    assert [moved.acts(place) for place in filters.PLACES] == [False, False, True]
    assert m.drift and not moved.drift and torch.equal(moved.frequency.exact, m.frequency.exact)
    assert moved.at().where is None
    assert not IDENTITY.acts("prior")
    z, frequency = white(1, 4, 6), (white(4, 6, seed=1).abs() + 0.5)
    both = Filter(frequency, white(4, 6, seed=2).abs() + 0.5, order="space first", where={"corrector"}, drift=True)
    for same in (both.at("corrector"), both.inverse().inverse()):
        assert torch.allclose(same.apply(z), both.apply(z), atol=1e-12)
        assert (same.where, same.drift, same.order) == (both.where, True, "space first")
    assert torch.allclose(both.inverse().apply(both.apply(z)), z, atol=1e-12)
    assert both.inverse().where == both.turned(Solenoid(1, 2.0)).where == both.where


def test_masks_of_channels_and_of_pixels_are_not_lost():
    """PDS-4, PDS-5: a mask for three channels is not broadcast over grey images, nor `space` left out."""
    with pytest.raises(ShapeError, match=r"the filter is for images of shape \(\.\.\., 3, 4, 4\), not \(2, 1, 4, 4\)"):
        Filter(torch.ones(3, 4, 4) / 2).noise(torch.ones(2, 1, 4, 4))
    space = white(4, 4, seed=1).abs() + 0.5
    for made in (
        filters.pds_radial((4, 4), 0.2, 1.6, space),
        filters.pds_from_data(white(5, 1, 4, 4), 5, space=space),
    ):
        assert made.space is not None and torch.equal(made.space.exact, space)


@given(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]), st.sampled_from(["dct", "dft"]))
def test_dtype_is_kept(dtype, basis):
    """Half precision stays half, and a float32 state is not promoted by float64 masks."""
    m = filters.tdas((8, 8), 0.5, 0.3, basis, drift=True)
    z = white(1, 8, 8).to(dtype)
    for f in (m.apply, m.noise, m.transpose, m.precondition):
        assert f(z).dtype == dtype
