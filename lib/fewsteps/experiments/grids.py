"""The tables of the book as lists of cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from fewsteps.errors import ParameterError
from fewsteps.experiments.cells import Cell
from fewsteps.experiments.sampling import Plan

NFE = (10, 20, 50, 100)
SEEDS = (0, 1, 2)
COUNT = 1000

# Method -> sampler, rule for its filter. Those on "reverse" and "pc" are the papers' own ground.
PLAIN: dict[str, str] = {
    "reverse diffusion": "reverse",
    "predictor-corrector": "pc",
    "VE ancestral": "ancestral",
    "Heun": "heun",
    "DDIM": "ddim",
    "DPM-Solver++(2M)": "dpmpp_2m",
    "Analytic-DDPM": "analytic",
    "Analytic-DDPM by frequency": "spectral",
}
CORRECTED: dict[str, tuple[str, str]] = {
    "VE ancestral, predictions corrected": ("ancestral", "by frequency"),
    "VE ancestral, predictions scaled": ("ancestral", "scaled"),
    "DDIM, predictions corrected": ("ddim", "by frequency"),
    "DPM-Solver++(2M), predictions corrected": ("dpmpp_2m", "by frequency"),
    "DPM-Solver++(2M), predictions scaled": ("dpmpp_2m", "scaled"),
}
FILTERED: dict[str, tuple[str, dict[str, Any]]] = {
    "reverse diffusion, best scalar": ("reverse", {"rule": "best", "among": "scalar"}),
    "reverse diffusion, best TDAS": ("reverse", {"rule": "best", "among": "tdas"}),
    "reverse diffusion, TDAS automatic": ("reverse", {"rule": "tdas_auto"}),
    "reverse diffusion, gamma^(-1/2)": ("reverse", {"rule": "gamma"}),
    "predictor-corrector, best TDAS": ("pc", {"rule": "best", "among": "tdas"}),
    "predictor-corrector, TDAS automatic": ("pc", {"rule": "tdas_auto"}),
    "predictor-corrector, best PDS": ("pc", {"rule": "best", "among": "pds_data", "drift": True}),
    "predictor-corrector, best scalar": ("pc", {"rule": "best", "among": "scalar"}),
}


def scoreboard(network: str, *, smoke: bool = False, large: bool = False) -> list[Cell]:
    """Every sampler and filter on one network at equal network calls: chapters 05 to 07.

    Parameters
    ----------
    network : str
    smoke : bool
        One small cell of every kind.
    large : bool
        10,000 images and up to 1000 calls, for a GPU.

    Notes
    -----
    Source: TDAS-11, PDS-9.
    """
    nfes, seeds, count = ((4,), (0,), 8) if smoke else (NFE, SEEDS, COUNT)
    if large:
        nfes, count = (*NFE, 200, 500, 1000), 10 * COUNT
    cells = []
    for nfe in nfes:
        for seed in seeds:
            base = Plan(network, nfe=nfe, count=count, seed=seed, half=not smoke)
            for method, sampler in PLAIN.items():
                cells.append(Cell(method, replace(base, sampler=sampler)))
            for method, (sampler, how) in CORRECTED.items():
                cells.append(Cell(method, replace(base, sampler=sampler, prediction=how)))
            for method, (sampler, rule) in FILTERED.items():
                cells.append(Cell(method, replace(base, sampler=sampler), rule))
    return cells


NETWORKS = ("digits", "mnist", "fashion", "cifar10", "faces")
GRIDS: dict[str, Callable[..., list[Cell]]] = {
    f"scoreboard-{network}{'-large' if large else ''}": partial(scoreboard, network, large=large)
    for network in NETWORKS
    for large in (False, True)
}


def grid(name: str, *, smoke: bool = False) -> list[Cell]:
    """The cells of a table.

    Raises
    ------
    ParameterError
        If there is no such table; lists those there are.
    """
    if name not in GRIDS:
        raise ParameterError(f"grid must be one of {', '.join(GRIDS)}, not {name!r}.")
    return GRIDS[name](smoke=smoke)
