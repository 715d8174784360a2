"""Metrics: torch-fidelity, scipy and closed forms as oracles, and the properties that make a number trustworthy."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kernel_mmd, kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from fewsteps import metrics, spectra
from fewsteps.errors import CheckpointError, ParameterError, ShapeError
from fewsteps.metrics import Moments, distances
from fewsteps.networks import Classifier
from fewsteps.transforms import fft2, ifft2

KID = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def rotation(width, seed=0):
    return torch.linalg.qr(noise(width, width, seed=seed))[0]


def coloured(count, width, seed, decay=0.5):
    """Features of full rank with a falling spectrum, correlated entries and a mean."""
    scales = torch.arange(1, width + 1, dtype=torch.float64) ** -decay
    return noise(count, width, seed=seed) * scales @ rotation(width, seed) + 0.3 * noise(width, seed=seed + 1)


def law(count, width, seed, decay=0.5):
    moments = Moments.of(coloured(count, width, seed, decay))
    return moments.mean, moments.covariance


def close(a, b, rel):
    return math.isclose(a, b, rel_tol=rel, abs_tol=0)


def line(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


# the Fréchet distance


@pytest.mark.parametrize(("width", "decay"), [(2, 0.0), (5, 0.0), (64, 0.5), (160, 0.0), (300, 0.3), (64, 2.0)])
def test_frechet_agrees_with_torch_fidelity(width, decay):
    """SD-3, PD-8, PX-9: the reference program, on the same full-rank features."""
    x, y = coloured(4 * width + 50, width, 0, decay), coloured(3 * width + 70, width, 5, decay)
    theirs = fid_statistics_to_metric(fid_features_to_statistics(x), fid_features_to_statistics(y), verbose=False)
    ours = metrics.frechet(Moments.of(x), Moments.of(y))
    assert close(ours, theirs["frechet_inception_distance"], 1e-6)


@given(st.floats(-5, 5), st.floats(0, 9), st.floats(-5, 5), st.floats(0, 9))
def test_frechet_on_a_line(mu1, sigma1, mu2, sigma2):
    """SD-3: (mu1 - mu2)^2 + (sigma1 - sigma2)^2."""
    one, two = ((line(mu)[0], line(sigma**2)) for mu, sigma in ((mu1, sigma1), (mu2, sigma2)))
    exact = (mu1 - mu2) ** 2 + (sigma1 - sigma2) ** 2
    got = metrics.frechet_distance(*one, *two)
    assert math.isclose(got, exact, rel_tol=1e-12, abs_tol=1e-14 * (sigma1**2 + sigma2**2))


@pytest.mark.parametrize("width", [3, 40, 300])
def test_frechet_agrees_with_the_matrix_square_root(width):
    """SD-3: the formula as it is printed, by scipy."""
    (mu1, cov1), (mu2, cov2) = law(3 * width, width, 1), law(4 * width, width, 2)
    root = scipy.linalg.sqrtm(cov1.numpy() @ cov2.numpy()).real
    printed = float((mu1 - mu2).square().sum() + cov1.trace() + cov2.trace()) - 2 * float(np.trace(root))
    assert close(metrics.frechet_distance(mu1, cov1, mu2, cov2), printed, 1e-9)


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1e-3, 0.5, 2.0, 30.0])] * 2), min_size=1, max_size=24), st.booleans())
def test_frechet_of_singular_covariances_that_commute(variances, turned):
    """SD-3: sum of (sigma1 - sigma2)^2 along the common axes, zeros in either or both of them."""
    v1, v2 = torch.tensor(variances, dtype=torch.float64).unbind(1)
    width = len(v1)
    turn = rotation(width) if turned else torch.eye(width, dtype=torch.float64)
    zero = torch.zeros(width, dtype=torch.float64)
    exact = float((v1.sqrt() - v2.sqrt()).square().sum())
    got = metrics.frechet_distance(zero, (turn * v1) @ turn.mT, zero, (turn * v2) @ turn.mT)
    # a zero distance is one of sums of variances, to their rounding
    assert math.isclose(got, exact, rel_tol=1e-9, abs_tol=1e-12 * float(v1.sum() + v2.sum()))


@pytest.mark.parametrize("width", [2, 30, 300])
def test_frechet_of_rank_one(width):
    """SD-3: covariances a a^T and b b^T have the cross term |a . b|, down to 0 for orthogonal ones."""
    a, b = noise(width, seed=1), noise(width, seed=2)
    across = b - a * (a @ b) / (a @ a)
    zero = torch.zeros(width, dtype=torch.float64)
    for other in (b, across, a, -a, 2 * a):
        exact = float(a @ a + other @ other - 2 * (a @ other).abs())
        got = metrics.frechet_distance(zero, torch.outer(a, a), zero, torch.outer(other, other))
        assert math.isclose(got, exact, rel_tol=1e-9, abs_tol=1e-12 * float(a @ a))
    identity = torch.eye(width, dtype=torch.float64)
    exact = width + float(a @ a) - 2 * float(a.norm())
    for pair in ((identity, torch.outer(a, a)), (torch.outer(a, a), identity)):
        assert close(metrics.frechet_distance(zero, pair[0], zero, pair[1]), exact, 1e-9)


def test_frechet_of_a_constant():
    """Covariance 0: the other set's total variance and the distance of the means."""
    mu, cov = law(50, 6, 3)
    zero = torch.zeros(6, dtype=torch.float64)
    nothing = torch.zeros(6, 6, dtype=torch.float64)
    exact = float(mu @ mu + cov.trace())
    assert close(metrics.frechet_distance(mu, cov, zero, nothing), exact, 1e-14)
    assert close(metrics.frechet_distance(zero, nothing, mu, cov), exact, 1e-14)
    assert metrics.frechet_distance(mu, nothing, zero, nothing) == float(mu @ mu)


def test_frechet_hides_no_singular_side_behind_a_large_one():
    """Where one covariance is 0 and the other is 1e10, rounding of the first must not be rooted."""
    v1 = torch.tensor([1.0] * 10 + [0.0] * 10, dtype=torch.float64)
    v2 = torch.tensor([1.0] * 10 + [1e10] * 10, dtype=torch.float64)
    turn, zero = rotation(20, 4), torch.zeros(20, dtype=torch.float64)
    c1, c2 = (turn * v1) @ turn.mT, (turn * v2) @ turn.mT
    for pair in ((c1, c2), (c2, c1)):
        assert close(metrics.frechet_distance(zero, pair[0], zero, pair[1]), 1e11, 1e-9)
    # a rounding error that Cholesky takes for a variance: of order 1e-8 in the root, if it were taken
    c1 = torch.diag(torch.tensor([1.0, 5e-17], dtype=torch.float64))
    c2 = torch.diag(torch.tensor([1e-14, 1.0], dtype=torch.float64))
    exact = 1 + (1 - 1e-7) ** 2
    for pair in ((c1, c2), (c2, c1)):
        assert distances._quick_cross(*pair, 1e-9) is None
        assert close(metrics.frechet_distance(zero[:2], pair[0], zero[:2], pair[1]), exact, 1e-15)


@pytest.mark.parametrize("power", [0, 1, 2, 3, 4, 6, 8])
def test_both_ways_to_the_cross_term_agree(power):
    """The quick way by Cholesky and the sure way by singular values, against exact factors, for steeper spectra."""
    width = 300
    scales = torch.arange(1, width + 1, dtype=torch.float64) ** (-power / 2)
    f1, f2 = rotation(width, 1) * scales, rotation(width, 2) * scales
    exact = float(np.linalg.svd((f1.mT @ f2).numpy(), compute_uv=False).sum())
    variance = 2 * float(scales.square().sum())
    c1, c2 = f1 @ f1.mT, f2 @ f2.mT
    quick = distances._quick_cross(c1, c2, 1e-9 * variance)
    sure = float(torch.linalg.svdvals(distances._factor(c1, "c1").mT @ distances._factor(c2, "c2")).sum())
    assert abs(sure - exact) < 1e-11 * variance
    assert (quick is None) == (power >= 4)
    assert quick is None or abs(quick - exact) < 1e-11 * variance
    assert distances._quick_cross(c1, c2, 0.0) is None


@pytest.mark.parametrize("width", [1, 2, 255, 256, 257, 600])
def test_the_product_by_halves_is_the_product(width):
    lower, half = noise(width, width).tril(), noise(width, width, seed=1)
    middle = half + half.mT
    got = distances._sandwiched(lower, middle).tril()
    exact = (lower.mT @ middle @ lower).tril()
    assert float((got - exact).abs().max()) < 1e-13 * width * float(exact.abs().max())


laws = st.tuples(st.integers(1, 12), st.integers(0, 10**6), st.integers(2, 40), st.integers(2, 40))


@given(laws)
def test_frechet_is_symmetric_and_zero_on_identical(given_law):
    """SD-3: also for covariances of fewer samples than entries."""
    width, seed, n, m = given_law
    one, two = law(n, width, seed), law(m, width, seed + 9)
    scale = float(one[1].trace() + two[1].trace())
    there, back = metrics.frechet_distance(*one, *two), metrics.frechet_distance(*two, *one)
    assert isinstance(there, float) and there >= 0
    assert math.isclose(there, back, rel_tol=1e-9, abs_tol=1e-12 * scale)
    assert metrics.frechet_distance(*one, *one) <= 1e-12 * scale


@given(laws, st.floats(1e-3, 1e3))
def test_frechet_turns_shifts_and_scales(given_law, scale):
    """SD-3: the same after a rotation and a shift of both, s^2 times as much after scaling both by s."""
    width, seed, n, m = given_law
    x, y = coloured(n, width, seed), coloured(m, width, seed + 9)
    before = metrics.frechet(Moments.of(x), Moments.of(y))
    size = float(x.square().sum(1).mean() + y.square().sum(1).mean())
    turn, shift = rotation(width, seed) * scale, noise(width, seed=seed)
    after = metrics.frechet(Moments.of(x @ turn + shift), Moments.of(y @ turn + shift)) / scale**2
    # rounding of the shifted and scaled features, which lie |shift| / scale away from 0
    loss = 1e-9 * (size + float(shift.square().sum()) / scale**2)
    assert abs(after - before) <= loss


@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 60), st.integers(0, 99))
def test_frechet_from_features_and_from_moments_agree(n, m, width, seed):
    """Below D samples the features are the factors: an independent way to the singular case."""
    x, y = coloured(n, width, seed), coloured(m, width, seed + 3)
    variance = float(x.var(0).sum() + y.var(0).sum())
    assert abs(metrics.frechet_between(x, y) - metrics.frechet(Moments.of(x), Moments.of(y))) < 1e-9 * variance


def test_covariances_summed_in_float32_are_taken():
    """Not quite symmetric, a little below 0: rounding, and no error."""
    x, y = coloured(30, 60, 1).float(), coloured(40, 60, 2).float()
    (mu1, c1), (mu2, c2) = ((z.mean(0), (z - z.mean(0)).mT @ (z - z.mean(0)) / (len(z) - 1)) for z in (x, y))
    c1 = c1 + 1e-7 * c1.max() * noise(60, 60).float()
    got = metrics.frechet_distance(mu1, c1, mu2, c2)
    assert close(got, metrics.frechet_between(x, y), 1e-2)


# statistics


@given(st.lists(st.integers(1, 9), min_size=3, max_size=5), st.integers(1, 6), st.integers(0, 99))
def test_moments_merge_in_any_grouping_to_the_moments_of_all(counts, width, seed):
    """SD-3: one shot, streamed, and merged from the left and from the right; numpy's covariance."""
    parts = [coloured(n, width, seed + i) + 100 for i, n in enumerate(counts)]
    whole = torch.cat(parts)
    shards = [Moments.of(part) for part in parts]
    streamed = Moments.empty(width)
    for part in parts:
        streamed = streamed.add(part)
    right = shards[0].merge(Moments.merged(shards[1:]))
    for moments in (streamed, Moments.merged(shards), right, Moments.of(whole)):
        assert moments.count == len(whole)
        assert np.allclose(moments.mean.numpy(), whole.mean(0).numpy(), rtol=1e-14, atol=0)
        expected = np.atleast_2d(np.cov(whole.numpy(), rowvar=False))
        assert np.allclose(moments.covariance.numpy(), expected, rtol=1e-11, atol=1e-11)
    both = shards[0].merge(shards[1]), shards[1].merge(shards[0])
    assert torch.equal(both[0].mean, both[1].mean) and torch.equal(both[0].scatter, both[1].scatter)


def test_moments_do_not_lose_a_small_variance_under_a_large_mean():
    """Sums of squares would keep none of its digits: mean 1e8, variance 1."""
    x = noise(5000, 2) + 1e8
    expected = np.cov((x - 1e8).numpy(), rowvar=False)
    streamed = Moments.merged(Moments.of(part) for part in x.split(100))
    assert np.abs(streamed.covariance.numpy() - expected).max() < 1e-7


def test_moments_of_many_rows_are_gathered_in_chunks(monkeypatch):
    monkeypatch.setattr("fewsteps.metrics.statistics.CHUNK", 7)
    x = coloured(50, 3, 1).float()
    assert np.allclose(Moments.of(x).covariance.numpy(), np.cov(x.double().numpy(), rowvar=False), rtol=1e-12)


def test_moments_are_stored_whole_and_without_pickle(tmp_path):
    moments = Moments.of(coloured(20, 4, 1))
    save_file(moments.to_arrays(), tmp_path / "m.safetensors")
    np.savez(tmp_path / "m.npz", **{name: array.numpy() for name, array in moments.to_arrays().items()})
    with np.load(tmp_path / "m.npz", allow_pickle=False) as stored:
        for arrays in (load_file(tmp_path / "m.safetensors"), dict(stored)):
            back = Moments.from_arrays(arrays)
            assert back.count == 20 and torch.equal(back.mean, moments.mean)
            assert torch.equal(back.scatter, moments.scatter) and back.sha256() == moments.sha256()
    other = Moments(20, moments.mean, moments.scatter.nextafter(torch.tensor(9.0, dtype=torch.float64)))
    assert other.sha256() != moments.sha256()


# kernel distance, inception score


def test_kernel_distance_agrees_with_torch_fidelity():
    """The whole sets as one subset, and subsets of one's own drawing."""
    x, y = coloured(200, 24, 1), coloured(200, 24, 4)
    theirs = kid_features_to_metric(x, y, **KID, kid_subsets=2, kid_subset_size=200, rng_seed=0, verbose=False)
    ours = metrics.kernel_distance(x, y, subsets=2, size=200, generator=seeded())
    assert close(ours.value, theirs["kernel_inception_distance_mean"], 1e-10) and ours.std < 1e-12
    ours = metrics.kernel_distance(x, y, subsets=5, size=60, generator=seeded(3))
    generator = seeded(3)
    drawn = []
    for _ in range(5):
        one, two = (z[torch.randperm(200, generator=generator)[:60]].numpy() for z in (x, y))
        drawn.append(kernel_mmd(one, two, **KID))
    assert close(ours.value, np.mean(drawn), 1e-10) and close(ours.std, np.std(drawn), 1e-10)


def test_kernel_distance_is_unbiased():
    """Zero on average for one law, where keeping the diagonal would not be; above zero for two."""
    count, pairs = 20, [(noise(20, 6, seed=2 * i), noise(20, 6, seed=2 * i + 1)) for i in range(200)]
    values = torch.tensor(
        [metrics.kernel_distance(x, y, subsets=1, size=count, generator=seeded()).value for x, y in pairs]
    )
    error = float(values.std()) / math.sqrt(len(values))
    assert abs(float(values.mean())) < 4 * error
    assert bool((values < 0).any())
    diagonal = float(torch.stack([(x.square().sum(1) / 6 + 1).pow(3).mean() for x, _ in pairs]).mean())
    across = float(torch.stack([(x @ y.mT / 6 + 1).pow(3).mean() for x, y in pairs]).mean())
    assert 20 * error < 2 * (diagonal - across) / count  # the test would see the bias
    far = metrics.kernel_distance(noise(400, 6), noise(400, 6, seed=1) + 1, subsets=10, size=100, generator=seeded())
    assert far.value > 20 * far.std / math.sqrt(10)


def test_inception_score_of_known_logits():
    """PD-8: 1 where every image is alike, K where each is sure and all classes are as many."""
    same = metrics.inception_score(torch.zeros(50, 7), splits=5)
    assert close(same.mean, 1, 1e-12) and same.std < 1e-12
    sure = 1e4 * torch.eye(7).repeat(10, 1)  # far beyond where exp underflows
    assert close(metrics.inception_score(sure, splits=10).mean, 7, 1e-12)
    by_class = sure[torch.arange(70).view(10, 7).T.flatten()]
    assert close(metrics.inception_score(by_class, splits=7).mean, 1, 1e-12)
    assert metrics.inception_score(by_class, splits=7, generator=seeded()).mean > 3
    assert metrics.inception_score(torch.tensor([[0.0, -2000.0, 0.0]] * 4), splits=1).mean == 1  # a class of none


@given(st.integers(2, 80), st.integers(1, 12), st.integers(1, 10), st.integers(0, 99))
def test_inception_score_agrees_with_torch_fidelity(count, classes, splits, seed):
    """PD-8: also where the splits are not equally long."""
    splits = min(splits, count)
    logits = 3 * noise(count, classes, seed=seed)
    theirs = isc_features_to_metric(logits, splits=splits, shuffle=False)
    ours = metrics.inception_score(logits, splits=splits)
    assert close(ours.mean, theirs["inception_score_mean"], 1e-10)
    assert math.isclose(ours.std, theirs["inception_score_std"], rel_tol=1e-8, abs_tol=1e-12)
    assert 1 - 1e-12 <= ours.mean <= classes + 1e-9


# precision and recall


def test_precision_and_recall_by_hand():
    """PD-8: which is which. Reals at 0..4, so balls of radius 1; fakes huddle at 2, with others far away."""
    real = line(0, 1, 2, 3, 4)
    fake = line(1.9, 2.0, 2.1, 50)
    # three of four fakes lie within 1 of a real; 2 is in the balls 0.1 wide, 3 and 4 in the one 47.9 wide around 50
    assert metrics.precision_recall(real, fake, k=1) == (0.75, 0.6)
    fake = line(1.9, 2.0, 2.1, 50, 50.1)
    got = metrics.precision_recall(real, fake, k=1)
    assert (got.precision, got.recall) == (0.6, 0.2)
    swapped = metrics.precision_recall(fake, real, k=1)
    assert (swapped.precision, swapped.recall) == (0.2, 0.6)


def test_precision_and_recall_on_surfaces_and_copies():
    """A ball holds its surface; copies are inside even where every ball has shrunk to a point."""
    assert metrics.precision_recall(line(0, 1), line(2, 3), k=1) == (0.5, 0.5)
    two = noise(2, 40).repeat(5, 1) + 1e3
    assert metrics.precision_recall(two, two.clone(), k=2) == (1, 1)
    assert metrics.precision_recall(two, two + 1e-3, k=2) == (0, 0)
    point = two[:1].repeat(5, 1)
    assert metrics.precision_recall(point, point.clone(), k=2) == (1, 1)
    assert metrics.precision_recall(point, point + 1e-3, k=2) == (0, 0)


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(1, 5), st.integers(6, 60), st.integers(6, 60), st.integers(1, 30))
def test_precision_and_recall_agree_with_torch_fidelity(seed, k, n, m, width):
    """PD-8: and swapping the arguments swaps the numbers."""
    real, fake = noise(n, width, seed=seed), 0.7 * noise(m, width, seed=seed + 100) + 0.2
    theirs = prc_features_to_metric(
        fake, real, prc_neighborhood=k, prc_batch_size=1000, save_cpu_ram=False, verbose=False
    )
    ours = metrics.precision_recall(real, fake, k=k)
    assert math.isclose(ours.precision, theirs["precision"], rel_tol=1e-6)
    assert math.isclose(ours.recall, theirs["recall"], rel_tol=1e-6)
    assert tuple(metrics.precision_recall(fake, real, k=k)) == tuple(reversed(ours))


def test_nearest_is_exact_in_chunks_of_any_size(monkeypatch):
    """Copies lie at exactly 0, far from the origin too; chunks change nothing."""
    references = noise(60, 200) + 1e4
    queries = torch.cat((references[17:20], noise(20, 200, seed=1) + 1e4))
    expected = (queries[:, None] - references).square().sum(2).sqrt().sort(dim=1, stable=True)
    for entries in (2**22, 1, 500):
        monkeypatch.setattr(distances, "ENTRIES", entries)
        got = metrics.nearest(queries, references, 4)
        assert torch.equal(got.index, expected.indices[:, :4])
        assert torch.allclose(got.distance, expected.values[:, :4], rtol=1e-9, atol=0)
        assert got.distance[:3, 0].tolist() == [0, 0, 0] and got.index[:3, 0].tolist() == [17, 18, 19]


# spectra


def test_spectral_error_sees_the_frequencies_that_were_changed():
    """SD-3: twice the amplitude above a radius is log 4 on those rings, and the bands are band_error's."""
    real = noise(8, 1, 32, 32)
    gain = 1.0 + (spectra.radius((32, 32)) > 0.3)
    fake = ifft2(fft2(real) * gain).real
    error = metrics.spectral_error(real, fake)
    expected = torch.where(error.frequency > 0.31, math.log(4), 0.0).double()
    inner = (error.frequency - 0.3).abs() > 1 / 32  # the ring across the edge is mixed
    assert torch.allclose(error.log_ratio[inner], expected[inner], atol=1e-9)
    assert (error.low, error.high) == tuple(spectra.band_error(fake, real)) and error.low < 1e-12 < error.high
    back = metrics.spectral_error(fake, real)
    assert torch.allclose(back.log_ratio, -error.log_ratio, atol=1e-12) and close(back.high, error.high, 1e-12)
    assert metrics.spectral_error(real, real.flip(0)).log_ratio.abs().max() < 1e-12


# intervals, floors, ranks


def test_the_interval_covers_the_distance_at_its_count():
    """SD-3: 19 of 20 intervals at 95 % should hold the mean distance of samples of that count."""
    reference = Moments.of(noise(4000, 3))

    def sample(seed):
        return noise(120, 3, seed=seed) * 1.2 + 0.2

    target = np.mean([metrics.frechet(Moments.of(sample(seed)), reference) for seed in range(1000, 1400)])
    trials = 40
    got = [metrics.frechet_interval(sample(i), reference, generator=seeded(i), draws=40) for i in range(trials)]
    assert all(low <= value <= high for value, low, high in got)
    covered = sum(low <= target <= high for _, low, high in got) / trials
    # three standard deviations of a binomial of 0.92: quantiles of 40 draws are a little narrow
    assert covered > 0.92 - 3 * math.sqrt(0.92 * 0.08 / trials)
    # and no wider than it has to be: half an interval is about two standard deviations of the values
    width = np.mean([high - low for _, low, high in got])
    assert 2.5 < width / np.std([value for value, _, _ in got]) < 5.5


def test_the_interval_is_the_spread_of_the_draws_reversed_around_the_estimate():
    """SD-3: Efron and Tibshirani's, of draws with replacement about their own mean, written out."""
    x, reference = noise(120, 3, seed=1) * 1.2 + 0.2, Moments.of(noise(4000, 3))
    value, generator = metrics.frechet(Moments.of(x), reference), seeded(3)
    drawn = np.array(
        [metrics.frechet(Moments.of(x[torch.randint(120, (120,), generator=generator)]), reference) for _ in range(40)]
    )
    below, above = np.quantile(drawn - drawn.mean(), (0.025, 0.975))
    got = metrics.frechet_interval(x, reference, generator=seeded(3), draws=40)
    assert tuple(got) == pytest.approx((value, value - above, value - below), rel=1e-4)


def test_the_interval_from_shards_is_that_from_samples_in_size():
    """Shards of a set give about the width that its samples give, and the same value."""
    reference = Moments.of(noise(4000, 3))
    fake = noise(600, 3, seed=1) * 1.1
    by_sample = metrics.frechet_interval(fake, reference, generator=seeded(), draws=60)
    shards = [Moments.of(part) for part in fake.split(20)]
    by_shard = metrics.frechet_interval(shards, reference, generator=seeded(1), draws=60)
    assert close(by_sample.value, by_shard.value, 1e-9)
    assert 0.6 < (by_shard.high - by_shard.low) / (by_sample.high - by_sample.low) < 1.6
    again = metrics.frechet_interval(shards, reference, generator=seeded(1), draws=60)
    assert again == by_shard
    narrow = metrics.frechet_interval(shards, reference, generator=seeded(1), draws=60, level=0.5)
    assert narrow.high - narrow.low < 0.6 * (by_shard.high - by_shard.low)


def test_the_floor_falls_as_the_count_grows_and_uses_each_vector_once():
    """SD-3: real against real is not 0 but about D (D + 3) / (2 N) times a constant: halved when N doubles."""
    real = noise(2000, 8)
    few, many = (metrics.floor(real, n, generator=seeded(), draws=8) for n in (100, 400))
    assert 2.5 < few / many < 6
    seen = []

    def distance(x, y):
        seen.append((x, y))
        return 1.0

    numbered = torch.arange(10.0)[:, None]
    assert metrics.floor(numbered, 3, generator=seeded(), against=7, draws=4, distance=distance) == 1
    for x, y in seen:
        assert sorted(torch.cat((x, y)).flatten().tolist()) == list(range(10)) and len(x) == 3
    assert len({tuple(x.flatten().tolist()) for x, _ in seen}) > 1


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=30))
def test_rank_agreement_is_scipys(pairs):
    """PX-9: ties included."""
    a, b = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
    if len(set(a)) == 1 or len(set(b)) == 1:
        return
    got = metrics.rank_agreement(a, b)
    assert math.isclose(got.spearman, scipy.stats.spearmanr(a, b).statistic, abs_tol=1e-12)
    assert math.isclose(got.kendall, scipy.stats.kendalltau(a, b).statistic, abs_tol=1e-12)


# extractors and numbers


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    network = Classifier(3, 5, width=8, blocks=1)
    for parameter in network.parameters():  # no residual is left at 0 or 1
        nn.init.normal_(parameter, std=0.3)
    return network


def test_features_are_the_networks_in_batches_of_any_size(classifier):
    """SD-3: float32, in order, without gradients, and the network is left as it was."""
    classifier.train()
    extractor = metrics.from_network("digits", classifier, channels=3)
    images = torch.rand(11, 3, 16, 16, generator=seeded())
    said = []
    got = metrics.features(extractor, images, batch=4, progress=lambda done, total: said.append((done, total)))
    assert said == [(4, 11), (8, 11), (11, 11)]
    assert got.dtype == torch.float32 and got.shape == (11, 32) and not got.requires_grad and not got.is_inference()
    assert torch.allclose(got, classifier.features(images), atol=1e-5)
    assert torch.allclose(metrics.logits(extractor, images), classifier(images), atol=1e-5)
    assert classifier.training
    assert (extractor.distance_name, extractor.resize) == ("FD-digits", "none")


def test_grey_images_are_repeated_and_others_resized(classifier):
    extractor = metrics.from_network("digits", classifier, channels=3, size=16)
    grey = torch.rand(2, 1, 32, 32, generator=seeded())
    assert torch.equal(metrics.features(extractor, grey), metrics.features(extractor, grey.repeat(1, 3, 1, 1)))
    fields = torch.full((2, 3, 40, 24), 0.25)
    assert torch.allclose(metrics.features(extractor, fields), metrics.features(extractor, fields[..., :16, :16]))
    assert extractor.resize == "bilinear with antialiasing to 16 px" and extractor.size == 16
    x = torch.rand(2, 3, 40, 24, generator=seeded())
    by_pillow = [
        torch.from_numpy(np.array(Image.fromarray(channel.numpy()).resize((16, 16), Image.Resampling.BILINEAR)))
        for channel in x.flatten(0, 1)
    ]
    small = torch.stack(by_pillow).unflatten(0, (2, 3)).clamp(0, 1)
    assert torch.allclose(metrics.features(extractor, x), metrics.features(extractor, small), atol=1e-3)
    with pytest.raises(ShapeError, match="1 or 3 channels"):
        metrics.features(extractor, torch.rand(1, 2, 8, 8, generator=seeded()))


def test_inception_is_torch_fidelitys(tmp_path, monkeypatch):
    """SD-3: the same bits as torch-fidelity's own extractor with the same weights (here drawn, not trained)."""
    theirs = feature_extractor_inceptionv3.FeatureExtractorInceptionV3
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(theirs, "load_state_dict", lambda self, state: None)
        drawn = theirs("drawn", ["2048", "logits_unbiased"], verbose=False)
    torch.save(drawn.state_dict(), tmp_path / "weights.pth")
    extractor = metrics.inception(tmp_path / "weights.pth")
    assert extractor.distance_name == "FID" and extractor.size == 299
    levels = torch.randint(0, 256, (2, 1, 20, 20), generator=seeded(), dtype=torch.uint8)
    images = levels.float() / 255
    vectors, scores = drawn(levels.repeat(1, 3, 1, 1))
    assert torch.equal(metrics.features(extractor, images), vectors) and vectors.std() > 0
    assert torch.equal(metrics.logits(extractor, images), scores)


def test_inception_without_weights_is_one_sentence_and_no_download(tmp_path, monkeypatch):
    def download(*_, **__):
        raise AssertionError("a download was begun")

    monkeypatch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(CheckpointError, match=r"^Inception's weights are not in torch's cache: pass weights=.*\.$"):
        metrics.inception()
    with pytest.raises(CheckpointError, match=r"no file away\.pth"):
        metrics.inception(tmp_path / "away.pth")
    torch.save({"fc.weight": torch.ones(1)}, tmp_path / "other.pth")
    (tmp_path / "damaged.pth").write_bytes(b"nothing")
    for name in ("other.pth", "damaged.pth"):
        with pytest.raises(CheckpointError, match=f"{name} does not hold") as raised:
            metrics.inception(tmp_path / name)
        assert "\n" not in str(raised.value)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(CheckpointError, match="pip install torch-fidelity"):
        metrics.inception()


def test_a_measured_number_says_where_it_is_from(classifier):
    """SD-3, PD-8, PX-9: extractor, resize, counts, seeds, interval, reference and floor, as JSON."""
    extractor = metrics.from_network("digits", classifier, channels=3)
    real, fake = noise(300, 5), noise(100, 5, seed=1) + 0.5
    number = metrics.measure(extractor, fake, real, seeds=(0, 99), generator=seeded(), draws=40)
    row = json.loads(json.dumps(number.row()))
    assert set(row) == set(
        "metric value low high count seeds extractor resize reference floor reference_count floor_count".split()
    )
    assert row["metric"] == "FD-digits" and row["extractor"] == "digits" and row["resize"] == "none"
    assert row["count"] == 100 and row["reference_count"] == 300 and row["seeds"] == [0, 99]
    assert row["reference"] == Moments.of(real).sha256()
    assert row["low"] < row["value"] < row["high"] and close(row["value"], metrics.frechet_between(fake, real), 1e-9)
    assert 0 < row["floor"] < 0.3 * row["value"] and row["floor_count"] == 100
    few = metrics.measure(extractor, fake, real[:150], seeds=(0, 99), generator=seeded(), draws=2)
    assert few.floor_count == 75  # half of the real ones, where there are fewer than two for each
    assert metrics.measure(extractor, fake, real, seeds=(0, 99), generator=seeded(), draws=40) == number


# what a user meets, where jaxtyping and beartype are not watching

NUMBER = "metrics.Number('FID', 1.0, {low}, 2.0, 10, {seeds}, 'x', 'none', {reference}, {floor}, 10, 10)"
GOOD = {"low": 0.5, "seeds": (0, 9), "reference": "'h'", "floor": 0.1}
CASES = {
    "width of mu": ("metrics.frechet_distance(o[0, :2], e, o[0], e)", "ShapeError", "cov1 must have shape (2, 2)"),
    "two widths": ("metrics.frechet_distance(o[0], e, o[0, :2], e[:2, :2])", "ShapeError", "one width, not 3 and 2"),
    "mu as matrix": ("metrics.frechet_distance(o, e, o[0], e)", "ShapeError", "mu1 must have shape (D,)"),
    "mu as list": ("metrics.frechet_distance([0.0], e, o[0], e)", "ShapeError", "not list"),
    "cov of integers": ("metrics.frechet_distance(o[0], e, o[0], e.long())", "ShapeError", "cov2 must be floating"),
    "cov NaN": ("metrics.frechet_distance(o[0], e, o[0], e * nan)", "ShapeError", "cov2 must be finite"),
    "mu infinite": ("metrics.frechet_distance(o[0], e, o[0] / 0, e)", "ShapeError", "mu2 must be finite"),
    "cov not symmetric": ("metrics.frechet_distance(o[0], e, o[0], o.tril())", "ShapeError", "symmetric"),
    "negative variance": ("metrics.frechet_distance(o[0], -e, o[0], e)", "ShapeError", "negative variance"),
    "indefinite": ("metrics.frechet_distance(o[0], 2 * o - e, o[0], e)", "ShapeError", "no negative eigenvalue"),
    "no features": ("metrics.Moments.of(o[:0])", "ShapeError", "at least 1 feature vectors, not 0"),
    "NaN features": ("metrics.Moments.of(o * nan)", "ShapeError", "3 of 3 vectors hold NaN"),
    "features of integers": ("metrics.Moments.of(o.long())", "ShapeError", "floating point"),
    "features as images": ("metrics.Moments.of(o[None])", "ShapeError", "(N, D)"),
    "one vector": ("metrics.Moments.of(o[:1]).covariance", "ParameterError", "at least 2 feature vectors, not 1"),
    "moments of nothing": ("metrics.Moments.merged([])", "ParameterError", "at least one"),
    "moments of two widths": (
        "metrics.Moments.of(o).merge(metrics.Moments.empty(2))",
        "ShapeError",
        "one width, not 3 and 2",
    ),
    "distance of two widths": (
        "metrics.frechet(metrics.Moments.of(o), metrics.Moments.of(o[:, :2]))",
        "ShapeError",
        "one width",
    ),
    "width of 0": ("metrics.Moments.empty(0)", "ParameterError", "width must"),
    "stored in part": ("metrics.Moments.from_arrays({'count': 1})", "ShapeError", "mean, scatter is missing"),
    "stored in float32": (
        "metrics.Moments.from_arrays({'count': torch.tensor(2), 'mean': torch.ones(2), 'scatter': torch.ones(2, 2)})",
        "ShapeError",
        "float64",
    ),
    "one sample": ("metrics.frechet_between(o[:1], o)", "ShapeError", "x must hold at least 2 feature vectors, not 1"),
    "subset too large": ("metrics.kernel_distance(o, o, size=4, generator=g)", "ParameterError", "from 2 to 3, not 4"),
    "no subsets": ("metrics.kernel_distance(o, o, size=2, subsets=0, generator=g)", "ParameterError", "subsets must"),
    "kernel of two widths": ("metrics.kernel_distance(o, o[:, :2], generator=g)", "ShapeError", "one width"),
    "too many splits": (
        "metrics.inception_score(o, splits=4)",
        "ParameterError",
        "splits must be an integer from",
    ),
    "infinite logits": ("metrics.inception_score(o / 0)", "ShapeError", "logits must be finite"),
    "k of all": ("metrics.precision_recall(o, o, k=3)", "ParameterError", "k must be an integer from 1 to 2, not 3"),
    "k of 0": ("metrics.precision_recall(o, o, k=0)", "ParameterError", "k must"),
    "NaN fakes": ("metrics.precision_recall(o, o * nan)", "ShapeError", "fake must be finite"),
    "more than there are": ("metrics.nearest(o, o, 4)", "ParameterError", "from 1 to 3, not 4"),
    "black fakes": (
        "metrics.spectral_error(torch.rand(2, 8, 8), torch.zeros(2, 8, 8))",
        "ShapeError",
        "fake",
    ),
    "images of two sizes": ("metrics.spectral_error(torch.rand(2, 8, 8), o)", "ShapeError", "share a size"),
    "one draw": ("metrics.frechet_interval(o, m, generator=g, draws=1)", "ParameterError", "at least 2"),
    "level of 1": ("metrics.frechet_interval(o, m, generator=g, level=1)", "ParameterError", "below 1, not 1"),
    "one shard": ("metrics.frechet_interval([m], m, generator=g)", "ShapeError", "at least 2 shards, not 1"),
    "unequal shards": (
        "metrics.frechet_interval([m, metrics.Moments.of(o[:2])], m, generator=g)",
        "ParameterError",
        "one count",
    ),
    "floor of too many": ("metrics.floor(f, 6, generator=g)", "ParameterError", "at most 8 together"),
    "floor of nearly all": ("metrics.floor(f, 7, generator=g)", "ParameterError", "from 2 to 6"),
    "ranks of two lengths": ("metrics.rank_agreement([1, 2], [1])", "ShapeError", "one length"),
    "ranks of equals": ("metrics.rank_agreement([1, 1], [1, 2])", "ParameterError", "two different"),
    "ranks NaN": ("metrics.rank_agreement([1, nan], [1, 2])", "ShapeError", "finite"),
    "images beyond 1": ("metrics.features(x, 2 * torch.ones(1, 1, 2, 2))", "ShapeError", "in [0, 1], not [2, 2]"),
    "images NaN": ("metrics.features(x, nan * torch.ones(1, 1, 2, 2))", "ShapeError", "4 NaN or infinite"),
    "one image": ("metrics.features(x, torch.ones(1, 2, 2))", "ShapeError", "(N, C, H, W)"),
    "images of integers": ("metrics.features(x, torch.ones(1, 1, 2, 2).byte())", "ShapeError", "floating point"),
    "no batch": ("metrics.features(x, torch.ones(1, 1, 2, 2), batch=0)", "ParameterError", "batch must"),
    "features not flat": (
        "metrics.features(metrics.Extractor('x', lambda x: x), torch.ones(1, 1, 2, 2))",
        "ShapeError",
        "must return shape (1, D), not (1, 1, 2, 2)",
    ),
    "no logits": ("metrics.logits(x, torch.ones(1, 1, 2, 2))", "ParameterError", "must have logits"),
    "stolen name": (
        "metrics.from_network('Inception', torch.nn.Identity(), channels=3)",
        "ParameterError",
        "must not be Inception's",
    ),
    "network without features": (
        "metrics.from_network('x', torch.nn.Identity(), channels=3)",
        "ParameterError",
        "features(x), which Identity has not",
    ),
    "two channels": ("metrics.from_network('x', torch.nn.Identity(), channels=2)", "ParameterError", "1 (grey) or 3"),
    "interval reversed": (NUMBER.format(**GOOD | {"low": 3.0}), "ParameterError", "low must be at most high"),
    "seeds reversed": (NUMBER.format(**GOOD | {"seeds": (9, 0)}), "ParameterError", "first and the last"),
    "no reference": (NUMBER.format(**GOOD | {"reference": "''"}), "ParameterError", "reference must"),
    "floor NaN": (NUMBER.format(**GOOD | {"floor": "nan"}), "ParameterError", "floor must be finite"),
}
PROGRAM = """
import json, sys, torch
from fewsteps import metrics
assert not {"torch_fidelity", "scipy", "torchvision"} & set(sys.modules), "imported where they are not used"
nan, g = float("nan"), torch.Generator()
o, e = torch.ones(3, 3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
f, m = torch.eye(8), metrics.Moments.of(o)
x = metrics.Extractor("x", lambda images: images.flatten(1))
said = {}
for name, code in json.load(sys.stdin).items():
    try:
        said[name] = ["nothing", repr(eval(code))]
    except Exception as error:
        said[name] = [type(error).__name__, str(error)]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said():
    """What every case raises, from one interpreter."""
    code = {name: case[0] for name, case in CASES.items()}
    given_code = json.dumps(code)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=given_code, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_sentence(name, said):
    """The right error, naming the argument or the range, in one line that ends like a sentence."""
    _, kind, words = CASES[name]
    error, message = said[name]
    assert error == kind, (error, message)
    assert words in message, message
    assert "\n" not in message and message.endswith(".") and len(message) < 220, message


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (3, 10), (10, 10), (790, 1000), (1, 2)])
def test_wilson_is_scipys(hits, count):
    expected = scipy.stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    z = float(scipy.stats.norm.ppf(0.975))
    assert metrics.wilson(hits / count, count, z) == pytest.approx((expected.low, expected.high), abs=1e-12)
    with pytest.raises(ParameterError, match="share must"):
        metrics.wilson(1.5, 10)
