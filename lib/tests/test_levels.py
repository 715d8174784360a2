"""The noise levels of score matching, against NCSNv2's definitions."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from fewsteps.errors import ParameterError
from fewsteps.losses import ScoreMatching, geometric_levels, level_overlap, overlapping_levels, settling_eps

dimensions = st.integers(5, 200_000)


def test_geometric_levels_are_ncsn_s():
    """BASE-NCSN: ten from 1 to 0.01, every ratio alike, the ends exact."""
    levels = geometric_levels(1.0, 0.01, 10)
    assert len(levels) == 10 and levels[0] == 1.0 and levels[-1] == 0.01
    assert [a / b for a, b in pairwise(levels)] == pytest.approx([100 ** (1 / 9)] * 9)
    assert ScoreMatching(levels).predicts["sigmas"] == levels


@given(dimension=dimensions, ratio=st.floats(1, 3))
def test_overlap_is_its_definition(dimension, ratio):
    """BASE-NCSNv2, Technique 2."""
    shift = math.sqrt(2 * dimension) * (ratio - 1)
    expected = norm.cdf(shift + 3 * ratio) - norm.cdf(shift - 3 * ratio)
    assert level_overlap(ratio, dimension) == pytest.approx(expected, abs=1e-12)


@given(dimension=dimensions, overlap=st.floats(0.1, 0.95))
def test_neighbours_overlap_and_one_level_fewer_would_not_do(dimension, overlap):
    levels = overlapping_levels(50.0, 0.01, dimension, overlap=overlap)
    assert levels[0] == 50.0 and levels[-1] == 0.01
    assert level_overlap(levels[0] / levels[1], dimension) >= overlap - 1e-9
    if len(levels) > 2:
        fewer = geometric_levels(50.0, 0.01, len(levels) - 1)
        assert level_overlap(fewer[0] / fewer[1], dimension) < overlap + 1e-9


def test_the_published_counts_follow():
    """BASE-NCSNv2 chose 232 levels for CIFAR-10 by an overlap of about one half: 232 have a little more."""
    published = geometric_levels(50.0, 0.01, 232)
    assert 0.5 < level_overlap(published[0] / published[1], 3 * 32 * 32) < 0.6
    assert len(overlapping_levels(50.0, 0.01, 3 * 32 * 32)) == 220


@pytest.mark.parametrize(
    ("first", "count", "per_level", "published"),
    [(50.0, 232, 5, 6.2e-6), (90.0, 500, 5, 3.3e-6), (190.0, 1086, 3, 1.8e-6)],
    ids=["CIFAR-10", "CelebA", "towers"],
)
def test_the_published_steps_follow(first, count, per_level, published):
    """BASE-NCSNv2, Technique 4: the paper's steps to the two digits printed; its moves are a score + sqrt(2 a) z."""
    assert settling_eps(geometric_levels(first, 0.01, count), per_level) / 2 == pytest.approx(published, abs=0.5e-7)


@pytest.mark.parametrize("per_level", [1, 3, 20])
@pytest.mark.parametrize("ratio", [1.01, 1.2, 3.0])
def test_no_other_step_leaves_less_noise(ratio, per_level):
    """BASE-NCSNv2: iterate the variance of one level's moves, x - a x / (2 s^2) + sqrt(a) z, on a grid of steps."""
    levels = [ratio * 0.01, 0.01]
    steps = np.linspace(1e-4, 1.999, 20_001)
    variance = np.full_like(steps, ratio**2)
    for _ in range(per_level):
        variance = (1 - steps / 2) ** 2 * variance + steps
    assert settling_eps(levels, per_level) == pytest.approx(steps[variance.argmin()] * 1e-4, abs=1.1e-8)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: geometric_levels(0.01, 1.0, 10), "last must be a number above 0 and below 0.01"),
        (lambda: geometric_levels(1.0, 0.01, 1), "count must be an integer of at least 2"),
        (lambda: overlapping_levels(1.0, 0.0, 10), "last must be a number above 0"),
        (lambda: overlapping_levels(1.0, 0.01, 4), "dimension must be an integer of at least 5"),
        (lambda: overlapping_levels(1.0, 0.01, 10, overlap=0.995), "overlap must be a number above 0 and at most 0.99"),
        (lambda: settling_eps([1.0], 5), "levels must be at least two, decreasing"),
        (lambda: settling_eps([0.1, 1.0], 5), "levels must be at least two, decreasing"),
        (lambda: settling_eps([1.0, 0.1], 0), "per_level must be an integer of at least 1"),
        (lambda: level_overlap(0.9, 10), "ratio must be a number of at least 1"),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(ParameterError, match=sentence):
        make()
