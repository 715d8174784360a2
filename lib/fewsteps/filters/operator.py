"""The noise operator M itself; the papers' masks are made in the other files of this room."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.filters.solenoid import Solenoid
from fewsteps.resident import Resident
from fewsteps.transforms import Basis, dct2, from_basis, idct2, is_even

Place = Literal["prior", "predictor", "corrector"]
PLACES: tuple[Place, ...] = get_args(Place)
Order = Literal["space last", "space first"]


class Filter:
    """M = A D^-1 m D: a mask m over frequencies, and a mask A over pixels after it (PDS) or before it (TDAS).

    Parameters
    ----------
    frequency : Tensor, shape (H, W) or (C, H, W), optional
        Positive, zero frequency first; for the DFT even, m(-k) = m(k), for otherwise M z would not be real.
    space : Tensor, shape (H, W) or (C, H, W), or no axes, optional
        Positive. A single number scales all noise alike and needs no transform.
    basis : {"dct", "dft"}
        What `frequency` refers to.
    order : {"space last", "space first"}
        PDS filters frequencies and then pixels, TDAS and the inverse of PDS the other way round.
    where : iterable of {"prior", "predictor", "corrector"}, optional
        Which noise is filtered: the initial state, what the sampler injects as it steps down, what a Langevin move
        injects at one noise level. Default: the initial state, unless it is given, and whatever the sampler injects.
    drift : bool
        Whether M M^T multiplies the score wherever the noise beside it is filtered (PDS) or not (TDAS).
    solenoid : Solenoid, optional
        PDS' omega S, added to M M^T on the score; asks for `drift`.

    Raises
    ------
    ShapeError
        If a mask has the wrong number of axes, is not positive and finite, or not even where it must be.
    ParameterError
        If `basis`, `order` or a place is unknown, or a solenoid has no drift to be added to.

    Notes
    -----
    Source: TDAS-3, Eq. 4-5; PDS-1, Eq. 19; PDS-2, Theorem 1; PDS-3 (`where`); PDS-7, Eq. 23 (`solenoid`).
    """

    def __init__(
        self,
        frequency: Tensor | None = None,
        space: Tensor | None = None,
        *,
        basis: Basis = "dct",
        order: Order = "space last",
        where: Iterable[Place] | None = None,
        drift: bool = False,
        solenoid: Solenoid | None = None,
    ) -> None:
        if basis not in get_args(Basis):
            raise ParameterError(f"basis must be 'dct' or 'dft', not {basis!r}.")
        if order not in get_args(Order):
            raise ParameterError(f"order must be 'space last' or 'space first', not {order!r}.")
        self.basis: Basis = basis
        self.order: Order = order
        self.where = _places(where)
        self.drift = bool(drift)
        self.solenoid = solenoid
        if solenoid is not None and not drift:
            raise ParameterError("a solenoid is a part of the drift: it needs drift=True.")
        self.frequency = _mask("frequency", frequency)
        self.space = _mask("space", space, scalar=True)
        if self.frequency is not None and basis == "dft" and not is_even(self.frequency.exact):
            raise ShapeError(
                "frequency must be even for the DFT, m(-k) = m(k): the real part of M z is what an even mask gives."
            )
        shapes = {
            (m.exact.shape[-2], m.exact.shape[-1])
            for m in (self.frequency, self.space)
            if m is not None and m.exact.ndim
        }
        if len(shapes) > 1:
            raise ShapeError(f"frequency and space must have one size, not {' and '.join(map(str, sorted(shapes)))}.")
        self._shape = shapes.pop() if shapes else None

    def __repr__(self) -> str:
        """What it is, in a line."""
        size = "any size" if self._shape is None else "x".join(map(str, self._shape))
        turned = f", {self.solenoid}" if self.solenoid else ""
        places = "all noise" if self.where is None else ", ".join(place for place in PLACES if place in self.where)
        return f"Filter({size}, {self.basis}, on {places}{', with the drift' if self.drift else ''}{turned})"

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width that it is made for; None for any."""
        return self._shape

    @property
    def is_identity(self) -> bool:
        """Whether nothing at all is filtered."""
        return self.frequency is None and self.space is None and self.solenoid is None

    @property
    def is_diagonal(self) -> bool:
        """Whether M is diagonal in its basis: no mask over pixels but a single number, and nothing that turns."""
        return (self.space is None or self.space.exact.ndim == 0) and self.solenoid is None

    def acts(self, place: Place) -> bool:
        """Whether noise drawn at `place` is filtered."""
        return not self.is_identity and (self.where is None or place in self.where)

    def at(self, *places: Place, drift: bool | None = None) -> Filter:
        """The same masks at other places, or with another drift.

        Parameters
        ----------
        *places : {"prior", "predictor", "corrector"}
            None given: the initial state and whatever the sampler injects.
        drift : bool, optional
            Default: as it is.

        Returns
        -------
        Filter

        Raises
        ------
        ParameterError
            If a place is unknown.

        Notes
        -----
        Source: PDS-3.
        """
        return Filter(
            self.frequency and self.frequency.exact,
            self.space and self.space.exact,
            basis=self.basis, order=self.order, where=places or None, drift=self.drift if drift is None else drift,
            solenoid=self.solenoid,
        )  # fmt: skip

    def inverse(self) -> Filter:
        """M^-1: the masks inverted, and in the other order.

        Notes
        -----
        Source: PDS-2, Eq. 23: the direction that the released code takes.
        """
        return Filter(
            self.frequency and self.frequency.exact.reciprocal(),
            self.space and self.space.exact.reciprocal(),
            basis=self.basis, order="space first" if self.order == "space last" else "space last",
            where=self.where, drift=self.drift, solenoid=self.solenoid,
        )  # fmt: skip

    def turned(self, solenoid: Solenoid) -> Filter:
        """The same filter with that term added to M M^T on the score.

        Parameters
        ----------
        solenoid : Solenoid

        Returns
        -------
        Filter
            With drift.

        Notes
        -----
        Source: PDS-7, Eq. 23.
        """
        return Filter(
            self.frequency and self.frequency.exact,
            self.space and self.space.exact,
            basis=self.basis, order=self.order, where=self.where, drift=True, solenoid=solenoid,
        )  # fmt: skip

    def apply(self, z: Tensor) -> Tensor:
        """M z.

        Parameters
        ----------
        z : Tensor, shape (..., C, H, W) or (..., H, W)

        Returns
        -------
        Tensor, of the shape and dtype of `z`

        Raises
        ------
        ShapeError
            If the filter was made for another size.

        Notes
        -----
        Source: TDAS-3, Eq. 4-5; PDS-1, Eq. 19.
        """
        self._require_size(z)
        if self.order == "space first":
            return self._by_frequency(self._by_space(z))
        return self._by_space(self._by_frequency(z))

    def transpose(self, g: Tensor) -> Tensor:
        """M^T g.

        Parameters
        ----------
        g : Tensor, shape (..., C, H, W) or (..., H, W)

        Returns
        -------
        Tensor, of the shape and dtype of `g`

        Raises
        ------
        ShapeError
            If the filter was made for another size.

        Notes
        -----
        Source: PDS-1.
        """
        self._require_size(g)
        if self.order == "space first":
            return self._by_space(self._by_frequency(g))
        return self._by_frequency(self._by_space(g))

    def noise(self, z: Tensor) -> Tensor:
        """A draw with the law of M z, z white: with ONE transform where no pixel mask comes before the frequencies.

        D z is white when z is, so z itself may stand for D z, and only the way back is left to compute.

        Parameters
        ----------
        z : Tensor, shape (..., C, H, W) or (..., H, W)
            Standard normal.

        Returns
        -------
        Tensor, of the shape and dtype of `z`

        Raises
        ------
        ShapeError
            If the filter was made for another size.

        Notes
        -----
        Source: TDAS-3, Eq. 5; PDS-2.
        """
        if self.frequency is None or (self.order == "space first" and not self.is_diagonal):
            return self.apply(z)
        self._require_size(z)
        return self._by_space(from_basis(self.frequency.like(z).mul(z).to(z.dtype), self.basis))

    def precondition(self, g: Tensor) -> Tensor:
        """(M M^T + omega S) g where this filter acts on the drift (PDS), otherwise g as it is (TDAS).

        Parameters
        ----------
        g : Tensor, shape (..., C, H, W) or (..., H, W)
            A score.

        Returns
        -------
        Tensor, of the shape and dtype of `g`

        Raises
        ------
        ShapeError
            If the filter was made for another size.

        Notes
        -----
        Source: PDS-2, Theorem 1; PDS-7, Eq. 23.
        """
        if not self.drift or self.is_identity:
            return g
        if self.solenoid is not None:
            return self.apply(self.transpose(g)) + self.solenoid.apply(g)
        if self.is_diagonal:  # one pair of transforms for both factors
            self._require_size(g)
            return self._by_space(self._by_space(self._by_frequency(g, power=2)))
        return self.apply(self.transpose(g))

    def _by_frequency(self, z: Tensor, power: int = 1) -> Tensor:
        if self.frequency is None:
            return z
        mask = self.frequency.like(z) ** power
        if self.basis == "dct":
            return idct2((mask * dct2(z)).to(z.dtype))
        # The mask is even, so half of the spectrum of a real image is enough, and the result is real.
        height, width = z.shape[-2:]
        spectrum = torch.fft.rfft2(z.to(mask.dtype))
        return torch.fft.irfft2(mask[..., : width // 2 + 1] * spectrum, s=(height, width)).to(z.dtype)

    def _by_space(self, z: Tensor) -> Tensor:
        return z if self.space is None else self.space.like(z).mul(z).to(z.dtype)

    def _require_size(self, z: Tensor) -> None:
        """Every axis of a mask must be one of the image: a mask for three channels would broadcast over grey ones."""
        for mask in (self.frequency, self.space):
            if mask is None or not mask.exact.ndim:
                continue
            wanted = tuple(mask.exact.shape)
            if tuple(z.shape[-len(wanted) :]) != wanted:
                raise ShapeError(f"the filter is for images of shape {_written(wanted)}, not {tuple(z.shape)}.")


def _places(where: Iterable[Place] | None) -> frozenset[Place] | None:
    if where is None:
        return None
    places = frozenset((where,) if isinstance(where, str) else where)
    if not places or not places <= set(PLACES):
        raise ParameterError(f"where must name at least one of {', '.join(PLACES)}, not {sorted(places)}.")
    return frozenset(place for place in PLACES if place in places)


def _mask(name: str, mask: Tensor | None, *, scalar: bool = False) -> Resident | None:
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or mask.ndim not in ((0, 2, 3) if scalar else (2, 3)):
        got = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ShapeError(f"{name} must be a tensor of shape (H, W) or (C, H, W), not {got}.")
    if not bool((torch.isfinite(mask) & (mask > 0)).all()):
        raise ShapeError(f"{name} must be positive and finite everywhere: M has to be invertible.")
    return Resident(mask)


def _written(shape: tuple[int, ...]) -> str:
    return f"(..., {', '.join(map(str, shape))})"


IDENTITY = Filter()
"""No filter at all."""
