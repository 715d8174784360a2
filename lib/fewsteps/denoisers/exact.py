"""Denoisers without a network, exact for the law they are given: every sampler's oracle."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fewsteps.denoisers.protocol import scales
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.resident import Resident
from fewsteps.schedules import Schedule
from fewsteps.schedules.base import Time
from fewsteps.transforms import Basis, from_basis, is_even, to_basis


class Gaussian:
    """Data from N(mean, covariance), the covariance diagonal in a basis.

    Parameters
    ----------
    schedule : Schedule
    variance : Tensor
        Non-negative, one per coefficient: shape (H, W) or (C, H, W) with a basis, any shape without one. For the DFT
        even, v(-k) = v(k), as the spectrum of real images is.
    mean : float or Tensor
        In pixels, broadcastable to the data.
    basis : {"dct", "dft"} or None
        None: the entries of `variance` are those of the data themselves.

    Raises
    ------
    ShapeError
        If `variance` is negative, not finite, or not even for the DFT.

    Notes
    -----
    Source: SD-1 (the Wiener filter is this denoiser); TDAS-7, PDS-10 on Gaussian data.
    """

    def __init__(
        self, schedule: Schedule, variance: Tensor, mean: float | Tensor = 0.0, *, basis: Basis | None = None
    ) -> None:
        _check_variance(variance, basis)
        self.schedule = schedule
        self.basis: Basis | None = basis
        self._variance = Resident(variance)
        self._mean = Resident(torch.as_tensor(mean, dtype=torch.float64))

    @property
    def variance(self) -> Tensor:
        """float64, on the CPU."""
        return self._variance.exact

    @property
    def data_mean(self) -> Tensor:
        """float64, on the CPU, in pixels."""
        return self._mean.exact

    def mean(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """E[x0 given x_t = x]: mean + G (x - alpha mean), G = alpha v / (alpha^2 v + sigma^2).

        Parameters
        ----------
        x : Tensor, shape (B, ...)
        t : float or Tensor
        cond
            Not used.

        Returns
        -------
        Tensor, of the shape and dtype of `x`

        Raises
        ------
        ShapeError
            If `x` is not of the shape of the variances.
        """
        alpha, sigma = scales(self.schedule, t, x)
        v, centre = self._variance.like(x), self._mean.like(x)
        self._require_shape(x)
        gain = alpha * v / (alpha**2 * v + sigma**2)
        return (centre + from_basis(gain * to_basis(x - alpha * centre, self.basis), self.basis)).to(x.dtype)

    def draw(self, x: Tensor, t: Time, cond: Any = None, noise: Tensor | None = None) -> Tensor:
        """A sample of x0 given x_t = x, from white `noise`; without noise the mean."""
        centre = self.mean(x, t)
        if noise is None:
            return centre
        alpha, sigma = scales(self.schedule, t, x)
        v = self._variance.like(x)
        spread = (v * sigma**2 / (alpha**2 * v + sigma**2)).sqrt()
        return (centre + from_basis(spread * noise, self.basis)).to(x.dtype)

    def sample(self, noise: Tensor) -> Tensor:
        """Clean data from white `noise` of shape (B, ...)."""
        self._require_shape(noise)
        return (self._mean.like(noise) + from_basis(self._variance.like(noise).sqrt() * noise, self.basis)).to(
            noise.dtype
        )

    def _require_shape(self, x: Tensor) -> None:
        wanted = tuple(self.variance.shape)
        if tuple(x.shape[x.ndim - len(wanted) :]) != wanted:
            raise ShapeError(f"x must have shape (..., {', '.join(map(str, wanted))}), not {tuple(x.shape)}.")


class GaussianMixture:
    """Data from a mixture of Gaussians whose covariances are diagonal in one basis.

    Parameters
    ----------
    schedule : Schedule
    weights : Tensor, shape (K,)
        Positive; they are normalised.
    means : Tensor, shape (K, ...)
        In pixels.
    variances : Tensor, shape (K, ...)
        Per coefficient, of the shape of `means`.
    basis : {"dct", "dft"} or None

    Raises
    ------
    ShapeError
        If the shapes disagree, or a weight or a variance is not positive.

    Notes
    -----
    Source: TDAS-9, PDS-9: a target that is not Gaussian and whose score is exact.
    """

    def __init__(
        self, schedule: Schedule, weights: Tensor, means: Tensor, variances: Tensor, *, basis: Basis | None = None
    ) -> None:
        if weights.ndim != 1 or means.shape != variances.shape or len(weights) != len(means):
            raise ShapeError(
                f"weights, means and variances must be (K,), (K, ...) and (K, ...), not {tuple(weights.shape)}, "
                f"{tuple(means.shape)} and {tuple(variances.shape)}."
            )
        if not bool((weights > 0).all()):
            raise ShapeError("weights must all be positive.")
        for variance in variances:
            _check_variance(variance, basis)
        if not bool((variances > 0).all()):
            raise ShapeError("variances must all be positive.")
        self.schedule = schedule
        self.basis: Basis | None = basis
        self.weights = (weights / weights.sum()).double()
        self._log_weights = Resident(self.weights.log())
        self._variances = Resident(variances)
        self._means = Resident(to_basis(means.double(), basis))

    def mean(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """E[x0 given x_t = x].

        Parameters
        ----------
        x : Tensor, shape (B, ...)
        t : float or Tensor
        cond
            Not used.

        Returns
        -------
        Tensor, of the shape and dtype of `x`
        """
        means, share, _ = self._posterior(x, *scales(self.schedule, t, x))
        return from_basis(torch.einsum("bk,bk...->b...", share, means), self.basis).to(x.dtype)

    def draw(self, x: Tensor, t: Time, cond: Any = None, noise: Tensor | None = None) -> Tensor:
        """A sample of x0 given x_t = x from white `noise`; without noise the mean.

        The component comes out of the first coefficient's noise, as a quantile, and that coefficient's own spread
        from what the quantile leaves over, so that one tensor of noise determines everything.
        """
        if noise is None:
            return self.mean(x, t)
        return self._draw(x, *scales(self.schedule, t, x), noise)

    def sample(self, noise: Tensor) -> Tensor:
        """Clean data from white `noise` of shape (B, ...)."""
        return self._draw(torch.zeros_like(noise), 0.0, 1.0, noise)  # given nothing of x0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return tuple(self._means.exact.shape[1:])

    @property
    def power(self) -> Tensor:
        """Mean square of every coefficient in the mixture's basis, float64."""
        per_component = self._variances.exact + self._means.exact.square()
        return torch.einsum("k,k...->...", self.weights, per_component)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What clean samples `x`, (B, ...), say of the mixture.

        Returns
        -------
        (Tensor, Tensor)
            Mean posterior share of each component, shape (K,), and mean log density in nats, without the constant.
        """
        v, off = self._variances.like(x), to_basis(x, self.basis)[:, None] - self._means.like(x)
        logs = self._log_weights.like(x) - (off.square() / v + v.log()).flatten(2).sum(-1) / 2
        return torch.softmax(logs, 1).mean(0), torch.logsumexp(logs, 1).mean()

    def _draw(self, x: Tensor, alpha: float | Tensor, sigma: float | Tensor, noise: Tensor) -> Tensor:
        means, share, spread = self._posterior(x, alpha, sigma)
        flat = noise.flatten(1).clone()
        u = torch.special.ndtr(flat[:, 0].double())
        ends = share.double().cumsum(1)
        k = (u[:, None] > ends).sum(1).clamp_max(len(self.weights) - 1)
        rows = torch.arange(len(x), device=x.device)
        low = ends[rows, k] - share.double()[rows, k]
        left = ((u - low) / share.double()[rows, k]).clamp(1e-12, 1 - 1e-12)
        flat[:, 0] = torch.special.ndtri(left).to(flat.dtype)
        coefficients = means[rows, k] + spread[rows, k] * flat.reshape(noise.shape)
        return from_basis(coefficients, self.basis).to(x.dtype)

    def _posterior(self, x: Tensor, alpha: Any, sigma: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Means and spreads of every component given x, (B, K, ...), and the components' shares, (B, K)."""
        if isinstance(alpha, Tensor):
            alpha, sigma = alpha[:, None], sigma[:, None]
        v, m = self._variances.like(x), self._means.like(x)
        if tuple(x.shape[1:]) != tuple(v.shape[1:]):
            raise ShapeError(f"x must have shape (B, {', '.join(map(str, v.shape[1:]))}), not {tuple(x.shape)}.")
        total = alpha**2 * v + sigma**2
        off = to_basis(x, self.basis)[:, None] - alpha * m
        evidence = -(off.square() / total + torch.log(total)).flatten(2).sum(-1) / 2
        share = torch.softmax(evidence + self._log_weights.like(x), dim=1)
        spread = (v * sigma**2 / total).sqrt().expand(off.shape)
        return m + alpha * v / total * off, share, spread


class Empirical:
    """Data that is exactly the given samples: what a network that had learnt its training set by heart would do.

    Parameters
    ----------
    schedule : Schedule
    samples : Tensor, shape (N, ...)

    Raises
    ------
    ShapeError
        If there is no sample.

    Notes
    -----
    Source: TDAS-1 (a law that no permutation of pixels preserves), BASE-NCSN.
    """

    def __init__(self, schedule: Schedule, samples: Tensor) -> None:
        if not isinstance(samples, Tensor) or samples.ndim < 2 or not samples.numel():
            raise ShapeError("samples must be a tensor of shape (N, ...) with at least one sample.")
        self.schedule = schedule
        self._samples = Resident(samples)

    def mean(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """E[x0 given x_t = x]: the samples' mean, weighted by how likely each is to have become x.

        Parameters
        ----------
        x : Tensor, shape (B, ...)
        t : float or Tensor
        cond
            Not used.

        Returns
        -------
        Tensor, of the shape and dtype of `x`
        """
        samples = self._samples.like(x).flatten(1)
        return (self.shares(x, t) @ samples).reshape(x.shape).to(x.dtype)

    def draw(self, x: Tensor, t: Time, cond: Any = None, noise: Tensor | None = None) -> Tensor:
        """One of the samples, chosen by the first entry of white `noise`; without noise the mean."""
        if noise is None:
            return self.mean(x, t)
        u = torch.special.ndtr(noise.flatten(1)[:, :1].double())
        shares = self.shares(x, t)
        k = (u > shares.double().cumsum(1)).sum(1).clamp_max(shares.shape[1] - 1)
        return self._samples.like(x)[k].to(x.dtype)

    def shares(self, x: Tensor, t: Time) -> Tensor:
        """Posterior probability of each sample, (B, N).

        Parameters
        ----------
        x : Tensor, shape (B, ...)
        t : float or Tensor

        Raises
        ------
        ShapeError
            If `x` has another shape than the samples.
        """
        alpha, sigma = scales(self.schedule, t, x)
        samples, flat = self._samples.like(x).flatten(1), x.flatten(1)
        if samples.shape[1] != flat.shape[1]:
            raise ShapeError(
                f"x must have shape (B, {', '.join(map(str, self._samples.exact.shape[1:]))}), not {tuple(x.shape)}."
            )
        if isinstance(alpha, Tensor):
            if alpha.flatten(1).shape[1] != 1:
                raise ParameterError("a schedule with one noise level per pixel has no empirical denoiser here.")
            alpha, sigma = alpha.flatten(1), sigma.flatten(1)
        # |x|^2 is the same for every sample and drops out of the softmax, and with it the largest rounding error.
        closeness = flat.to(samples.dtype) @ samples.mT * alpha - alpha**2 * samples.square().sum(1) / 2
        return torch.softmax(closeness / sigma**2, dim=1)


def _check_variance(variance: Tensor, basis: Basis | None) -> None:
    if not isinstance(variance, Tensor) or not variance.is_floating_point():
        raise ShapeError("variance must be a floating-point tensor.")
    if basis is not None and variance.ndim not in (2, 3):
        raise ShapeError(f"variance must have shape (H, W) or (C, H, W), not {tuple(variance.shape)}.")
    if not bool((torch.isfinite(variance) & (variance >= 0)).all()):
        raise ShapeError("variance must be non-negative and finite everywhere.")
    if basis == "dft" and not is_even(variance):
        raise ShapeError("variance must be even for the DFT, v(-k) = v(k), as the spectrum of real images is.")
