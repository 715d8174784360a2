"""The laboratories of chapters 05 and 06: the papers' masks under the reader's hand, exactly, on Gaussian data."""

from __future__ import annotations

from typing import Any

import torch
import traitlets
from torch import Tensor

from fewsteps import filters, results, theory
from fewsteps.filters import IDENTITY, Filter, Zones
from fewsteps.theory import RingData, Rings
from fewsteps.transforms import Basis
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.few_step import LEVELS, SETS, SIZE, VARIANCE, WHERE
from fewsteps.widgets.figure import Figure


def lattice(size: int, basis: Basis) -> tuple[Rings, Tensor]:
    """Every frequency of a square image that differs by symmetry once, by increasing distance.

    Unlike :func:`fewsteps.theory.rings` frequencies at one distance stay apart, which PDS' mask as coded needs.

    Returns
    -------
    (Rings, Tensor)
        Squared index distances to the zero frequency, frequencies and counts; and the squared index distances to the
        middle of the array.
    """
    last = size - 1 if basis == "dct" else size // 2
    a, b = torch.triu_indices(last + 1, last + 1).double()
    times = [torch.where((k == 0) | (k == size / 2) | (basis == "dct"), 1.0, 2.0).double() for k in (a, b)]
    squared = a**2 + b**2
    order = torch.argsort(squared * 4 * size + a)
    count = times[0] * times[1] * torch.where(a == b, 1.0, 2.0)
    unshifted = (size / 2 - a) ** 2 + (size / 2 - b) ** 2
    scale = size if basis == "dft" else 2 * size
    return Rings(squared[order], squared[order].sqrt() / scale, count[order]), unshifted[order]


class _FilterLab(Figure):
    """Data, samplers and the noise of both laboratories."""

    _css = HERE / "lab.css"
    setting = traitlets.Dict().tag(sync=True)
    spectra = traitlets.Dict().tag(sync=True)
    T = traitlets.Int(50, min=2, max=400).tag(sync=True)
    spectrum = traitlets.Enum(("law", *SETS), "law").tag(sync=True)
    exponent = traitlets.Float(2.0, min=0, max=4).tag(sync=True)
    seed = traitlets.Int(7, min=1, max=50).tag(sync=True)
    samplers: tuple[str, ...] = ()
    bases: tuple[Basis, ...] = ()

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.setting = {
            "size": SIZE, "levels": list(LEVELS), "variance": VARIANCE, "samplers": list(self.samplers),
        }  # fmt: skip
        table = {row["set"]: row for row in results.read("spectra")["rows"]}
        said = {}
        for name, label in SETS.items():
            frequency, power = (torch.tensor(table[name][key][1:]) for key in ("frequency", "power"))
            of = {
                basis: theory.on_rings(self._grid(basis), frequency, power, table[name]["exponent_of_mean"])
                for basis in self.bases
            }
            said[name] = {
                "label": label,
                "variance": {basis: [float(f"{float(x):.5g}") for x in v] for basis, v in of.items()},
            }
        self.spectra = said

    def _grid(self, basis: Basis) -> Rings:
        return lattice(SIZE, basis)[0]

    def _data(self, basis: Basis) -> RingData:
        grid = self._grid(basis)
        if self.spectrum == "law":
            return RingData(grid, theory.power_law(grid, self.exponent, VARIANCE), LEVELS)
        return RingData(grid, torch.tensor(self.spectra[self.spectrum]["variance"][basis], dtype=torch.float64), LEVELS)

    def _steps(self, sampler: str) -> int:
        return theory.steps_for("langevin", self.T) if sampler == "langevin" else self.T


class TdasLab(_FilterLab):
    """Chapter 05: TDAS' zones on the noise of a sampler with few steps, and the rule that sets them.

    Gaussian data in [-1, 1] at 64 px, noise levels from 100 to 0.02; every frequency of the basis by itself.

    Parameters
    ----------
    sampler, T, basis, spectrum, exponent, lam1, lam2, r1, r2, amplitude, seed
        Where the controls stand at first; traits of the same names follow the reader's hand.

    Notes
    -----
    Source: TDAS-4, TDAS-5, TDAS-7, TDAS-8.
    """

    _esm = bundle("tdas_lab.js")
    samplers = ("pc", "reverse", "langevin", "ddpm_large", "analytic")
    bases: tuple[Basis, ...] = ("dct", "dft")
    sampler = traitlets.Enum(samplers, "pc").tag(sync=True)
    basis: Any = traitlets.Enum(("dct", "dft"), "dct").tag(sync=True)
    lam1 = traitlets.Float(0.9, min=0.3, max=1.5).tag(sync=True)
    lam2 = traitlets.Float(0.8, min=0.3, max=1.5).tag(sync=True)
    r1 = traitlets.Float(0.4, min=0, max=1).tag(sync=True)
    r2 = traitlets.Float(0.6, min=0, max=1).tag(sync=True)
    amplitude = traitlets.Bool(False).tag(sync=True)

    def data(self) -> RingData:
        """The data that the controls describe."""
        return self._data(self.basis)

    def filter(self) -> Filter:
        """The filter that the controls describe, on the lattice of frequencies."""
        squared = self.data().rings.squared
        gains = filters.zone_gains(squared, (SIZE, SIZE), (self.lam1, self.lam2), (self.r1, self.r2))
        return self.data().filter(gains)

    def law(self, filt: Filter | None = None) -> theory.Law:
        """The law of the sampler's output; without `filt`, under the filter of the controls."""
        return self.data().run(self.sampler, self._steps(self.sampler), self.filter() if filt is None else filt)

    def rule(self) -> Zones:
        """TDAS' automatic parameters for the unfiltered sampler.

        Raises
        ------
        ParameterError
            If kappa never reaches a quantile.
        """
        data = self.data()
        gamma = (self.law(IDENTITY).variance / data.variance)[0]
        vp = theory.RIVALS[self.sampler].family is not theory.RIVALS["reverse"].family
        return filters.tdas_zones(
            gamma[place_of(SIZE, self.basis)], self.basis, quantiles=(0.25, 0.1) if vp else (0.75, 0.9),
            amplitude=self.amplitude,
        )  # fmt: skip


class PdsLab(_FilterLab):
    """Chapter 06: PDS' operator in both directions and layouts, where it acts, and what it does to the conditioning.

    Parameters
    ----------
    sampler, T, mask, r, lam, alpha, direction, centre, where, drift, spectrum, exponent, seed
        Where the controls stand at first; traits of the same names follow the reader's hand.

    Notes
    -----
    Source: PDS-2, PDS-3, PDS-4, PDS-5, PDS-10.
    """

    _esm = bundle("pds_lab.js")
    samplers = ("pc", "reverse", "langevin", "ancestral")
    bases: tuple[Basis, ...] = ("dft",)
    sampler = traitlets.Enum(samplers, "pc").tag(sync=True)
    mask = traitlets.Enum(("radial", "data"), "radial").tag(sync=True)
    r = traitlets.Float(0.2, min=0, max=0.5).tag(sync=True)
    lam = traitlets.Float(1.6, min=0.3, max=2).tag(sync=True)
    alpha = traitlets.Float(5.0, min=1.1, max=20).tag(sync=True)
    direction = traitlets.Enum(("M", "M_inv"), "M").tag(sync=True)
    # Not "layout", which every widget of Jupyter has already.
    centre = traitlets.Enum(("zero", "highest"), "zero").tag(sync=True)
    where = traitlets.Enum(WHERE, "all").tag(sync=True)
    drift = traitlets.Bool(True).tag(sync=True)

    def data(self) -> RingData:
        """The data that the controls describe."""
        return self._data("dft")

    def gains(self) -> Tensor:
        """The mask that the controls describe, on the lattice of frequencies."""
        data = self.data()
        if self.mask == "data":
            plain = data.variance * SIZE**2 / 4
            plain[0] = (SIZE**2 / 2) ** 2  # images in [0, 1] with a mean grey of 1/2
            gains = filters.pds_mask(plain[None], self.alpha)[0]
        else:
            squared = data.rings.squared if self.centre == "zero" else lattice(SIZE, "dft")[1]
            gains = filters.zone_gains(squared, (SIZE, SIZE), self.lam, self.r)
        return gains if self.direction == "M" else gains.reciprocal()

    def filter(self) -> Filter:
        """The filter that the controls describe."""
        where = None if self.where == "all" else {self.where}
        return self.data().filter(self.gains(), where=where, drift=self.drift)

    def law(self, filt: Filter | None = None) -> theory.Law:
        """The law of the sampler's output; without `filt`, under the filter of the controls.

        Raises
        ------
        ParameterError
            If the sampler cannot use the filter as it is placed.
        """
        return self.data().run(self.sampler, self._steps(self.sampler), self.filter() if filt is None else filt)


def place_of(size: int, basis: Basis) -> Tensor:
    """For every frequency of an image as the transforms lay it out, its entry of :func:`lattice`, (size, size)."""
    index = torch.arange(size)
    fold = index if basis == "dct" else torch.minimum(index, size - index)
    low, high = torch.minimum(fold[:, None], fold), torch.maximum(fold[:, None], fold)
    last = size - 1 if basis == "dct" else size // 2
    a, b = torch.triu_indices(last + 1, last + 1)
    order = torch.argsort((a**2 + b**2) * 4 * size + a)
    entry = torch.empty(last + 1, last + 1, dtype=torch.long)
    entry[a[order], b[order]] = torch.arange(len(order))
    return entry[low, high]


class BoardLab(_FilterLab):
    """Chapter 07: every sampler and filter of the book on one scoreboard, at equal network calls.

    Parameters
    ----------
    nfe, spectrum, exponent, lam, r
        Where the controls stand at first; traits of the same names follow the reader's hand.

    Notes
    -----
    Source: TDAS-11, PDS-9 on Gaussian data; beyond the papers.
    """

    _esm = bundle("board_lab.js")
    bases: tuple[Basis, ...] = ("dct",)
    nfe = traitlets.Int(20, min=5, max=200).tag(sync=True)
    lam = traitlets.Float(0.9, min=0.3, max=1.5).tag(sync=True)
    r = traitlets.Float(0.4, min=0, max=1).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        rings = self._grid("dct")
        kept = {name: getattr(rings, name).tolist() for name in ("squared", "frequency", "count")}
        self.setting = self.setting | {"rings": kept}

    def _grid(self, basis: Basis) -> Rings:
        # Eleven budgets and ten methods are drawn at once, and nothing over the plane of frequencies.
        return theory.rings(SIZE, basis, most=200)

    def data(self) -> RingData:
        """The data that the controls describe, on rings of frequency joined to 200."""
        return self._data("dct")

    def distances(self) -> dict[str, float]:
        """W2 over the data's rms by the page's names of the rows, from the samplers themselves."""
        data = self.data()

        def run(key: str, filt: Filter = IDENTITY) -> float:
            return data.distance(data.run(key, theory.steps_for(key, self.nfe), filt))[0]

        gamma = data.run("reverse", self.nfe).variance[0] / data.variance
        zone = filters.zone_gains(data.rings.squared, (SIZE, SIZE), self.lam, self.r)
        gains = [k / 100 for k in range(50, 110)]
        found = {"none": run("reverse"), "zone": run("reverse", data.filter(zone))}
        found["scalar"] = min(run("reverse", data.filter(torch.full_like(gamma, gain))) for gain in gains)
        found["gamma"] = run("reverse", data.filter(gamma.rsqrt()))
        for key in ("ancestral", "analytic", "spectral", "ddim", "heun", "dpmpp_2m"):
            if theory.calls_of(key, theory.steps_for(key, self.nfe)) <= self.nfe:
                found[key] = run(key)
        return found
