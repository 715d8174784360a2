"""The tables of the book as lists of cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from fewsteps import checkpoints, parameters, trained
from fewsteps.errors import ParameterError
from fewsteps.experiments import gates, slim
from fewsteps.experiments.cells import Cell
from fewsteps.experiments.sampling import Plan
from fewsteps.parameters import Profile

NFE = (10, 20, 50)
LONG = (200, 500, 1000)
SEEDS = (0, 1, 2)
COUNT = 1000
NONE, RIVAL = "no filter", "VE ancestral"
CORRECTED = f"{RIVAL}, predictions corrected"
FEW = 256  # where a cell is long, or one point of many


@dataclass(frozen=True)
class Method:
    """One row of a table: a sampler and what is done to its noise or to its network's predictions."""

    sampler: str
    rule: Mapping[str, Any] = field(default_factory=dict)
    prediction: str = "as it is"
    named: Mapping[str, Any] = field(default_factory=dict)
    filt: Mapping[str, Any] | None = None

    def cell(self, name: str, base: Plan) -> Cell:
        """It, under a name and in all else as `base`."""
        plan = replace(
            base, sampler=self.sampler, prediction=self.prediction, named={**base.named, **self.named}, filt=self.filt
        )
        return Cell(name, plan, self.rule)


def _best(among: str, **given: Any) -> dict[str, Any]:
    return {"rule": "best", "among": among, **given}


# The papers' own ground is "reverse" and "pc".
SCOREBOARD: dict[str, Method] = {
    "reverse diffusion": Method("reverse"),
    "predictor-corrector": Method("pc"),
    "VE ancestral": Method("ancestral"),
    "Heun": Method("heun"),
    "DDIM": Method("ddim"),
    "DPM-Solver++(2M)": Method("dpmpp_2m"),
    "Analytic-DDPM": Method("analytic"),
    "Analytic-DDPM by frequency": Method("spectral"),
    CORRECTED: Method("ancestral", prediction="by frequency"),
    "VE ancestral, predictions scaled": Method("ancestral", prediction="scaled"),
    "DDIM, predictions corrected": Method("ddim", prediction="by frequency"),
    "DDIM, predictions scaled": Method("ddim", prediction="scaled"),
    "DPM-Solver++(2M), predictions corrected": Method("dpmpp_2m", prediction="by frequency"),
    "DPM-Solver++(2M), predictions scaled": Method("dpmpp_2m", prediction="scaled"),
    "reverse diffusion, best scalar": Method("reverse", _best("scalar")),
    "reverse diffusion, best TDAS": Method("reverse", _best("tdas")),
    "reverse diffusion, TDAS automatic": Method("reverse", {"rule": "tdas_auto"}),
    "reverse diffusion, gamma^(-1/2)": Method("reverse", {"rule": "gamma"}),
    "predictor-corrector, best TDAS": Method("pc", _best("tdas")),
    "predictor-corrector, TDAS automatic": Method("pc", {"rule": "tdas_auto"}),
    "predictor-corrector, best PDS": Method("pc", _best("pds_data", drift=True)),
    "predictor-corrector, best scalar": Method("pc", _best("scalar")),
}

# What the papers' claims are judged by: their samplers with every kind of filter, and what needs none; and ours.
JUDGED = {
    name: SCOREBOARD[name]
    for name in (
        *("reverse diffusion", "predictor-corrector", "VE ancestral", "DDIM", "DPM-Solver++(2M)", "Analytic-DDPM"),
        *("reverse diffusion, best scalar", "reverse diffusion, best TDAS", "reverse diffusion, TDAS automatic"),
        *("predictor-corrector, best scalar", "predictor-corrector, best TDAS", "predictor-corrector, TDAS automatic"),
        *("predictor-corrector, best PDS", CORRECTED),
    )
}

# Where the power of predictions is put right, what it is put right of, and what a filter on the noise does at best.
PREDICTED = {
    name: SCOREBOARD[name]
    for name in (
        *("VE ancestral", "VE ancestral, predictions scaled", CORRECTED),
        *("DDIM", "DDIM, predictions scaled", "DDIM, predictions corrected"),
        *("DPM-Solver++(2M)", "DPM-Solver++(2M), predictions corrected", "reverse diffusion, best TDAS"),
    )
}

# From 100 calls on: what the papers run, what a filter makes of it, and what one would use instead.
LONG_RUNS = {
    name: SCOREBOARD[name]
    for name in (
        *("reverse diffusion", "predictor-corrector", "VE ancestral", "DPM-Solver++(2M)", CORRECTED),
        *("reverse diffusion, best TDAS", "predictor-corrector, best TDAS"),
    )
}

_DDIM = {"eta": 0.0}
FEW_CALLS: dict[str, Method] = {
    "DDIM": Method("ddim"),
    "DPM-Solver++(2M)": Method("dpmpp_2m"),
    "DDPM, large variance": Method("ddpm_large"),
}
"""What a GAN of a few steps is compared with (PD-8)."""
NATIVE_VP: dict[str, Method] = {
    "DDIM": Method("ddim"),
    "DPM-Solver++(2M)": Method("dpmpp_2m"),
    "DDPM, large variance": Method("ddpm_large"),
    "Analytic-DDPM": Method("analytic"),
    "Analytic-DDIM": Method("analytic", named=_DDIM),
    "Analytic-DDIM, best TDAS": Method("analytic", _best("tdas_vp"), named=_DDIM),
    "Analytic-DDIM, best scalar": Method("analytic", _best("scalar_vp"), named=_DDIM),
    "Analytic-DDIM, TDAS automatic": Method("analytic", {"rule": "tdas_auto", "quantiles": [0.25, 0.1]}, named=_DDIM),
    "DDPM with moves": Method("ddpm_moves"),
    "DDPM with moves, best PDS": Method("ddpm_moves", _best("pds_data", drift=True, where=["corrector"])),
}

PLACES: dict[str, list[str]] = {
    "at the start": ["prior"],
    "on injected noise": ["predictor", "corrector"],
    "everywhere": ["prior", "predictor", "corrector"],
}
PLACED: dict[str, Method] = {
    NONE: Method("pc"),
    **{f"TDAS {place}": Method("pc", _best("tdas", where=where)) for place, where in PLACES.items()},
    **{
        f"PDS in the {place}": Method("pc", _best("pds_data", drift=True, where=[place]))
        for place in ("predictor", "corrector")
    },
}

_SPACE = {"space": "tdas"}
WITH_SPACE: dict[str, Method] = {
    "predictor-corrector": Method("pc"),
    "best TDAS, frequencies": Method("pc", _best("tdas")),
    "best TDAS, frequencies and pixels": Method("pc", _best("tdas", **_SPACE)),
    "best scalar": Method("pc", _best("scalar")),
    "best scalar and pixels": Method("pc", _best("scalar", **_SPACE)),
}

LANGEVIN: dict[str, Method] = {
    "annealed Langevin, best step": Method("langevin", _best("langevin_step")),
    "annealed Langevin, best PDS and step": Method("langevin", _best("langevin_pds")),
    "annealed Langevin, best TDAS and step": Method("langevin", _best("langevin_tdas")),
}

GAINS = ((1.0, 0.9), (0.9, 0.8), (0.8, 0.7), (0.7, 0.6), (0.6, 0.5), (0.5, 0.4), (0.4, 0.3))
"""TDAS' Fig. 10: pairs of lambda."""
RADII = ((0.9, 1.0), (0.8, 0.7), (0.7, 0.6), (0.6, 0.5), (0.5, 0.4), (0.4, 0.3), (0.3, 0.2))
"""TDAS' Fig. 11: pairs of r, as printed; the first and the others are in another order."""


CPU = Profile("cpu")


def table(
    network: str,
    methods: Mapping[str, Method],
    nfes: Sequence[int] = NFE,
    seeds: Sequence[int] = SEEDS,
    count: int = COUNT,
    *,
    scale: Profile = CPU,
    folder: Path = checkpoints.FOLDER,
) -> list[Cell]:
    """Every method on one network at equal network calls.

    Parameters
    ----------
    network : str
    methods : mapping of name to Method
    nfes, seeds : sequence of int
    count : int
        Images per cell. All three are for the profile "cpu"; "gpu" takes every seed and ten times `COUNT`, and "smoke"
        one small cell of every kind.
    scale : Profile
    folder : Path
        Of the checkpoints, here and in the other tables.

    Raises
    ------
    CheckpointError
        If there is no such network.

    Notes
    -----
    Source: TDAS-8, TDAS-10, TDAS-11, PDS-9, PDS-11.
    """
    nfes = scale.pick(smoke=(4,), cpu=nfes, gpu=nfes)
    seeds = scale.pick(smoke=(0,), cpu=seeds, gpu=SEEDS)
    count = scale.pick(smoke=8, cpu=count, gpu=10 * COUNT)
    base = replace(gates.asked(checkpoints.card(network, folder)), half=scale.name != "smoke")
    return [
        method.cell(name, replace(base, nfe=nfe, seed=seed, count=count))
        for nfe in nfes
        for seed in seeds
        for name, method in methods.items()
    ]


def scoreboard(
    network: str, every: Sequence[int] = (), *, scale: Profile = CPU, folder: Path = checkpoints.FOLDER
) -> list[Cell]:
    """What the claims are judged by up to 50 calls; at 100, and on a GPU to 1000, those that are run so long.

    Parameters
    ----------
    network : str
    every : sequence of int
        Budgets at which all methods are run on a CPU too; on a GPU they are at all of them.
    scale : Profile

    Raises
    ------
    CheckpointError
        If there is no such network.
    """
    full = scale.pick(smoke=NFE, cpu=every, gpu=NFE)
    if scale.name == "smoke":
        return table(network, SCOREBOARD, scale=scale, folder=folder)
    rest = [nfe for nfe in NFE if nfe not in full]
    return [
        *table(network, SCOREBOARD, full, scale=scale, folder=folder),
        *table(network, JUDGED, rest, scale=scale, folder=folder),
        *table(network, LONG_RUNS, scale.pick(smoke=(), cpu=(100,), gpu=(100, *LONG)), scale=scale, folder=folder),
    ]


def few_calls(network: str, *, scale: Profile = CPU, folder: Path = checkpoints.FOLDER) -> list[Cell]:
    """What a GAN of a few steps is compared with: a denoiser told no class either, with 2 to 50 calls.

    Raises
    ------
    CheckpointError
        If there is no such network.

    Notes
    -----
    Source: PD-8, Tables 2 and 3.
    """
    cells = table(network, FEW_CALLS, (50,), scale=scale, folder=folder)
    if scale.name != "smoke":  # which has one small cell of every kind already
        solver = {"DPM-Solver++(2M)": FEW_CALLS["DPM-Solver++(2M)"]}
        cells += table(network, solver, (2, 3, 4, 5, 10, 20), scale=scale, folder=folder)
    return [replace(cell, plan=replace(cell.plan, labels="any", half=False)) for cell in cells]


def longest(network: str, *, scale: Profile = CPU, folder: Path = checkpoints.FOLDER) -> list[Cell]:
    """Where the predictor-corrector has as many calls as it was made for: is anything left for a filter?

    From the second budget on a search takes hours of a core, so there the filter is the one that is best at the first.

    Raises
    ------
    CheckpointError
        If there is no such network.

    Notes
    -----
    Source: TDAS-8, TDAS-11.
    """
    if scale.name == "gpu":
        return table(network, LONG_RUNS, LONG, scale=scale, folder=folder)
    at = scale.pick(smoke=4, cpu=LONG[0], gpu=LONG[0])
    methods = {
        "VE ancestral": Method("ancestral"),
        "predictor-corrector": Method("pc"),
        f"predictor-corrector, best TDAS at {at} calls": Method("pc", _best("tdas", at=at)),
    }
    return table(network, methods, LONG, SEEDS[:1], FEW, scale=scale, folder=folder)


def moves(network: str, per_level: int, *, scale: Profile = CPU, folder: Path = checkpoints.FOLDER) -> list[Cell]:
    """Annealed Langevin dynamics with few moves per level; its step, or its step and a filter, are chosen.

    Parameters
    ----------
    network : str
        Of NCSN's kind.
    per_level : int
        Moves per noise level.
    scale : Profile

    Raises
    ------
    CheckpointError
        If there is no such network.
    ParameterError
        If it is of another kind.

    Notes
    -----
    Source: PDS-9, Table 1; TDAS-11, Table 3a.
    """
    card = checkpoints.card(network, folder)
    if card["predicts"]["kind"] != "score":
        raise ParameterError(f"network must be of NCSN's kind, not {network!r}: it has no noise levels of its own.")
    asked, per_level = gates.asked(card), scale.pick(smoke=2, cpu=per_level, gpu=per_level)
    calls = per_level * len(card["predicts"]["sigmas"]) + bool(asked.named.get("denoise", True))
    named = {**asked.named, "per_level": per_level}
    named.pop("eps", None)  # chosen
    base = replace(asked, nfe=calls, named=named, count=scale.pick(smoke=8, cpu=FEW, gpu=10 * COUNT))
    return [
        method.cell(name, replace(base, seed=seed, half=scale.name != "smoke"))
        for seed in scale.pick(smoke=SEEDS[:1], cpu=SEEDS, gpu=SEEDS)
        for name, method in LANGEVIN.items()
    ]


def sensitivity(network: str, nfe: int = 20, *, scale: Profile = CPU, folder: Path = checkpoints.FOLDER) -> list[Cell]:
    """TDAS' filter over pairs of gains and pairs of radii, no filter, and the sampler that needs none.

    Raises
    ------
    CheckpointError
        If there is no such network.

    Notes
    -----
    Filtered noise is drawn as coefficients, so a filter changes which noise is drawn as well. With 256 images that
    matters more than most of these filters do; "no filter" is therefore gains of 1 on the very same coefficients.

    Source: TDAS-11, Figs 10 and 11.
    """
    pairs = [(lam, r) for lam in GAINS for r in RADII]
    methods = {pair(lam, r): Method("reverse", filt=_zones(lam, r)) for lam, r in pairs}
    methods[NONE] = Method("reverse", filt=_zones((1.0, 1.0), RADII[0]))
    methods[RIVAL] = Method("ancestral")
    return table(network, methods, (nfe,), SEEDS, FEW, scale=scale, folder=folder)


def pair(lam: tuple[float, float], r: tuple[float, float]) -> str:
    """What a pair of gains and a pair of radii are called in the table of :func:`sensitivity`."""
    return f"λ {lam[0]:g}, {lam[1]:g}; r {r[0]:g}, {r[1]:g}"


def _zones(lam: tuple[float, float], r: tuple[float, float]) -> dict[str, Any]:
    return {"kind": "tdas", "lam": list(lam), "r": sorted(r)}


DDIM_STEPS = 200
WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
WEIGHT = ", weight "  # in a method's name, before its guidance weight


def slimmed(teacher: str, *, scale: Profile = CPU, folder: Path = checkpoints.FOLDER) -> list[Cell]:
    """A teacher and its slim networks by DDIM, and the teacher with as many fewer steps as the slim one is cheaper.

    The networks that are in the folder: a column of the ablation that has not been trained is no row, and columns that
    were trained more shortly, in a folder of their own, are compared without the teacher.

    Raises
    ------
    CheckpointError
        If nothing of this teacher is there.

    Notes
    -----
    Source: SD-8, Tables 2 and 3; SD-9, Table 5.
    """
    made_here = slim.family(teacher, folder) or {slim.TEACHER: teacher}
    cells = []
    ddim = {"": Method("ddim")}
    several = (slim.TEACHER, slim.LITE, slim.SLIM) if slim.TEACHER in made_here else ()
    for called, name in made_here.items():
        seeds = SEEDS if called in several else SEEDS[:1]
        made = table(name, ddim, (DDIM_STEPS,), seeds, scale=scale, folder=folder)
        cells += [replace(cell, method=called) for cell in made]
    if {slim.TEACHER, slim.SLIM} <= made_here.keys():
        large, small = (slim.cost(trained.load(made_here[called], folder)).macs for called in (slim.TEACHER, slim.SLIM))
        fewer = table(teacher, ddim, (max(1, round(DDIM_STEPS * small / large)),), SEEDS, scale=scale, folder=folder)
        cells += [replace(cell, method=slim.FEWER) for cell in fewer]
    return cells


def guided(teacher: str, steps: int = 50, *, scale: Profile = CPU, folder: Path = checkpoints.FOLDER) -> list[Cell]:
    """Networks under classifier-free guidance of several weights, at equal DDIM steps.

    Teacher, Lite, the slim one, and who learned the teacher's answer. Weights are chosen on the first seed and judged
    on the other (:func:`fewsteps.experiments.slim_tables.guided`).

    Raises
    ------
    CheckpointError
        If the teacher is not there.

    Notes
    -----
    Source: SD-10, Table 3.
    """
    checkpoints.card(teacher, folder)
    steps = scale.pick(smoke=2, cpu=steps, gpu=DDIM_STEPS)
    cells = []
    for called, name in slim.family(teacher, folder).items():
        if called in (slim.TEACHER, slim.LITE, slim.SLIM, slim.ANSWER):
            for cell in table(name, {"": Method("ddim")}, (1,), SEEDS[:2], FEW, scale=scale, folder=folder):
                for weight in WEIGHTS:
                    plan = replace(cell.plan, guidance=weight, nfe=steps * (1 if weight in (0, 1) else 2))
                    cells.append(Cell(f"{called}{WEIGHT}{weight:g}", plan))
    return cells


# All methods where the network is small, and where colour leaves something to be told apart with few calls; elsewhere
# the rest of them waits for a GPU.
NETWORKS = {"digits": NFE, "mnist": NFE[:2], "fashion": (), "cifar10": NFE[:2], "faces": ()}
GRIDS: dict[str, Callable[..., list[Cell]]] = {
    **{f"scoreboard-{name}": partial(scoreboard, name, every) for name, every in NETWORKS.items()},
    **{f"long-{name}": partial(longest, name) for name in ("mnist", "cifar10")},
    "predictions-fashion": partial(table, "fashion", PREDICTED, NFE[:2]),
    "predictions-faces": partial(table, "faces", PREDICTED, NFE[:2], count=FEW),
    "native-vp": partial(table, "fashion-vp", NATIVE_VP),
    **{f"few-{name}": partial(few_calls, name) for name in ("digits", "fashion", "cifar10")},
    "places-mnist": partial(table, "mnist", PLACED, (20,)),
    "space-faces": partial(table, "faces", WITH_SPACE, (20,), count=FEW),
    "sensitivity-mnist": partial(sensitivity, "mnist"),
    # PDS counts moves in all: its T of 20 is two at each of ten levels, as its 126 for NCSNv2 is 3152 / 25.
    **{f"moves-{name}": partial(moves, name, 2) for name in ("mnist-ncsn", "cifar10-ncsn")},
    "moves-mnist-ncsnv2": partial(moves, "mnist-ncsnv2", 1),
    **{f"slim-{name}": partial(slimmed, name) for name in ("fashion", "cifar10-fine", "faces-latent")},
    **{f"guidance-{name}": partial(guided, name) for name in ("fashion", "cifar10-fine")},
}


def grid(name: str, profile: str = "cpu", folder: Path = checkpoints.FOLDER) -> list[Cell]:
    """The cells of a table.

    Parameters
    ----------
    name : str
    profile : {"smoke", "cpu", "gpu"}
        How many images, seeds and budgets: a few to see that all of it runs, those that the book prints, or all.
    folder : Path
        Of the checkpoints.

    Raises
    ------
    ParameterError
        If there is no such table or profile; lists those there are.
    CheckpointError
        If the network of the table is not there.
    """
    if name not in GRIDS:
        raise ParameterError(f"grid must be one of {', '.join(GRIDS)}, not {name!r}.")
    return GRIDS[name](scale=parameters.profile(profile), folder=folder)
