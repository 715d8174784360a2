"""What PDS adds beside its masks: the solenoidal term, and the theorem for a general drift with its counter-example."""

import itertools
import math

import pytest
import torch

from fewsteps import denoisers, filters, samplers, schedules, theory
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.filters import Filter, Solenoid

KINDS = ("S1", "S2", "S3", "S4", "S5", "S6")


def white(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matrix(operator, shape):
    n = math.prod(shape)
    return operator(torch.eye(n, dtype=torch.float64).reshape(n, *shape)).reshape(n, n).mT


class TestSolenoid:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_s_is_skew_symmetric(self, kind):
        """PDS-7, Theorem 1 asks for S^T = -S."""
        s = matrix(filters.solenoid(kind, 8).apply, (8, 8))
        assert (s + s.mT).abs().max() < 1e-14

    @pytest.mark.parametrize("kind", KINDS)
    def test_half_of_them_are_zero_on_real_images(self, kind):
        """PDS-7: Re[F (P - P^T) F^-1] is zero; a shift of pixels is not."""
        image = white(2, 3, 64, 64)
        size = float(filters.solenoid(kind, 64).apply(image).abs().max())
        assert size < 1e-12 if kind in ("S4", "S5", "S6") else size > 1

    def test_the_first_choice_of_the_paper_is_zero(self):
        """PDS-7: Re[F - F^T] = 0, for the DFT's matrix is symmetric; asserted against the definition in numpy."""
        import numpy

        n = 12
        index = numpy.arange(n)
        by_hand = numpy.exp(-2j * numpy.pi * numpy.outer(index, index) / n) / numpy.sqrt(n)
        assert abs((by_hand - by_hand.T).real).max() < 1e-14
        assert filters.real_of_dft_minus_transpose(n).abs().max() < 1e-14

    def test_shifts_scale_with_the_image(self):
        assert [filters.solenoid(kind, 1024).shift for kind in KINDS[:3]] == [1, 10, 100]
        assert [filters.solenoid(kind, 32).shift for kind in KINDS[:3]] == [1, 1, 3]

    def test_it_is_added_to_the_drift_alone(self):
        """PDS-7, Eq. 23: (M M^T + omega S) g; the noise stays M z."""
        m = filters.pds_radial((6, 6), 0.2, 1.6)
        turned = m.turned(Solenoid(2, 0.7))
        g = white(4, 6, 6)
        by_hand = m.precondition(g) + 0.7 * (g.roll((2, 2), (-2, -1)) - g.roll((-2, -2), (-2, -1)))
        assert (turned.precondition(g) - by_hand).abs().max() < 1e-14
        assert torch.equal(turned.noise(g), m.noise(g))
        assert turned.inverse().solenoid == turned.at("corrector").solenoid == Solenoid(2, 0.7)
        assert not Filter(drift=True, solenoid=Solenoid(1)).is_identity

    def test_small_steps_keep_the_law_whatever_omega(self):
        """PDS-7, Theorem 1: with smaller steps the law tends to the data's, with S as without, at first order."""
        distance = []
        for ratio in (0.2, 0.1, 0.05):
            law, target = stirred(Solenoid(1, 0.8), ratio, moves=round(20 / ratio))
            distance.append(float((law.covariance - target).norm() / target.norm()))
        assert distance[0] > 1e-2  # and so the test is one
        for more, less in itertools.pairwise(distance):
            assert 1.7 < more / less < 2.6

    @pytest.mark.parametrize("share", [0.97, 1.03])
    def test_the_largest_omega(self, share):
        """PDS-7: below the bound a long run settles, above it grows without end; 1000 is far above."""
        ratio = 0.2
        bound = filters.largest_omega(ratio)
        assert bound < 3
        # Four pixels along the diagonal, so that a shift by one has an eigenvalue of 2 i, where the bound is attained.
        law, _ = stirred(Solenoid(1, share * bound), ratio, moves=300, side=4, white=True)
        assert (float(law.variance.max()) < 100) == (share < 1)

    def test_bad_input(self):
        with pytest.raises(ParameterError, match="needs drift=True"):
            Filter(solenoid=Solenoid(1))
        with pytest.raises(ParameterError, match="S1, S2, S3"):
            filters.solenoid("S7", 32)
        with pytest.raises(ParameterError, match="shift must be"):
            Solenoid(0)
        with pytest.raises(ParameterError, match="'pixels' or 'frequencies'"):
            Solenoid(1, domain="space")
        with pytest.raises(ParameterError, match="below 4"):
            filters.largest_omega(4.0)


def stirred(turn, ratio, moves, *, side=6, white=False):
    """Langevin moves at noise level 1 on Gaussian data, with the turn and M = 1: their law, and the one they aim at.

    `ratio` is the step over the mean variance of the noisy data.
    """
    variance = torch.rand(side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.5
    variance = torch.ones_like(variance) if white else variance
    model = denoisers.Gaussian(schedules.VE(0.1, 1.0), variance)
    law = theory.propagate(
        samplers.langevin, model, torch.tensor([1.0, 0.0]), filt=Filter(drift=True, solenoid=turn).at("corrector"),
        per_level=moves, eps=ratio * float(variance.mean() + 1), denoise=False,
    )  # fmt: skip
    return law, torch.diag((variance + 1).flatten())


class TestLinear:
    def test_lyapunov_against_scipy(self):
        from scipy.linalg import solve_continuous_lyapunov

        drift, noise = white(5, 5) - 4 * torch.eye(5, dtype=torch.float64), white(5, 5, seed=1)
        found = theory.stationary_covariance(drift, noise)
        said = solve_continuous_lyapunov(drift.numpy(), -(noise @ noise.mT).numpy())
        assert abs(found.numpy() - said).max() < 1e-12

    def test_a_gradient_keeps_its_law(self):
        """PDS-2, Theorem 1 in continuous time: dx = -C^-1 x dt + sqrt(2) dw, whatever M."""
        c = white(4, 4)
        c = c @ c.mT + torch.eye(4, dtype=torch.float64)
        drift, noise = -torch.linalg.inv(c), math.sqrt(2) * torch.eye(4, dtype=torch.float64)
        m = white(4, 4, seed=2) + 2 * torch.eye(4, dtype=torch.float64)
        assert (theory.stationary_covariance(*theory.preconditioned(drift, noise, m)) - c).abs().max() < 1e-10

    def test_a_rotation_does_not(self):
        """PDS-8: the noise is a multiple of the identity, so the theorem's condition holds, and its claim does not."""
        turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
        drift, noise = -torch.eye(2, dtype=torch.float64) + 2 * turn, math.sqrt(2) * torch.eye(2, dtype=torch.float64)
        m = torch.diag(torch.tensor([1.0, 2.0], dtype=torch.float64))
        assert torch.equal(noise @ noise.mT @ m.mT, m.mT @ noise @ noise.mT)
        before = theory.stationary_covariance(drift, noise)
        after = theory.stationary_covariance(*theory.preconditioned(drift, noise, m))
        assert (before - torch.eye(2)).abs().max() < 1e-14
        assert (after - before).abs().max() > 0.2
        # And by simulation of the preconditioned process itself: 4000 paths, explicit steps of .002 to time 8.
        pull, push = theory.preconditioned(drift, noise, m)
        x = torch.zeros(4000, 2, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        for _ in range(4000):
            dw = torch.randn(x.shape, generator=generator, dtype=torch.float64) * math.sqrt(0.002)
            x = x + 0.002 * x @ pull.mT + dw @ push.mT
        assert (x.mT @ x / len(x) - after).abs().max() < 0.12

    def test_bad_input(self):
        one = torch.eye(2, dtype=torch.float64)
        with pytest.raises(ParameterError, match="pull back"):
            theory.stationary_covariance(one, one)
        with pytest.raises(ShapeError, match="one size"):
            theory.stationary_covariance(-one, torch.eye(3, dtype=torch.float64))
