"""What ``tools/measure_semantics.py`` found, as chapter 10 shows it: tables, and verdicts computed from them."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewsteps import results
from fewsteps.data import class_names
from fewsteps.errors import DataError
from fewsteps.experiments import boards
from fewsteps.experiments.adversarial import POSTERIOR
from fewsteps.experiments.gates import PRIOR_CALLS
from fewsteps.experiments.grids import FEW_CALLS
from fewsteps.experiments.semantics import FAR, REACH
from fewsteps.losses import Adversarial
from fewsteps.training.recipes import PLANNED, RECIPES, TABLE_1

FULL, BASE, SPECIAL = "progddgan", "ddgan2", "ddgan2-special"
LONG = "-long"  # ends the names of those that were trained for longer, which PD-8 is judged on where there are any
CALLED = {"z_T": "z_T", "z": "z", "x_T": "x_T", POSTERIOR: "noise of the posterior"}
INPUTS = {
    "z_T": "the semantic vector: of an encoded image, of the prior, or Gaussian",
    "z": "latent noise of every step; that of t = T is not looked at",
    "x_T": "the state that sampling begins with",
    POSTERIOR: "noise between two steps, which the paper does not name",
}
CLAIMED = {"ddgan2-se": -1, "ddgan2-pixels": 1, "ddgan2-features": -1, "progddgan": -1}
"""Rows of Table 1 in its order, and whether the paper's distance falls or rises against the row before. The first is
judged against the baseline on its own schedule, from which it differs in the encoder alone."""
CONTROLS = {"progddgan-constant": "P constant", "progddgan-uniform": "t uniform"}
KINDS = {"prior": "those of the priors", "gaussian": "Gaussian"}
OTHERS = {"progddgan-free": "without Eq. 10", "progddgan-every": "with z_T at every step"}
NEARER = "nearer to a training image than 1 % of test images"
SAMPLERS = {"ddgan": "GAN", "ddim": "DDIM", "dpmpp_2m": "DPM-Solver++(2M)", "test images": "test images"}
"""Of those that several judges have seen, the ones that chapter 10 shows, and what they are called."""
EDITS = {
    "before": "its probability before",
    "after": f"after {REACH:g} √d along the normal",
    "far": f"after {FAR:g} √d",
    "between": f"after {FAR:g} √d along the difference of the means",
}
MOVES = 0.5  # of how often z_T changes the class: a rival that moves less is no rival
WORSE, FASTER = 1.5, 10  # times DDIM-50's distance and speed: above and below, PD-8 is overturned (data/claims.yaml)


@dataclass(frozen=True)
class Rival:
    """Denoisers that PD-8 is compared with, told no class: their table of distances, their network, and who judges."""

    table: str
    checkpoint: str
    judge: str


SCORES = {"inception score": "IS-{judge}", "precision": "precision", "recall": "recall"}
"""What stands beside a distance, and what :mod:`fewsteps.experiments.evaluation` calls it."""
RIVALS = {
    data: Rival(f"few-{short}", short, f"{short}-classifier")
    for data, short in (("fashion_mnist", "fashion"), ("digits", "digits"), ("cifar10", "cifar10"))
}


@dataclass(frozen=True)
class Measured:
    """All that is known of one data set.

    Attributes
    ----------
    data : str
    rows : mapping of str to mapping
        By how the name of a checkpoint ends, such as "progddgan", in the order of Table 1.
    baselines : mapping of str to mapping
        Smoothness of what is no GAN: "pixels", and "DDIM, 50 steps" where there is a denoiser.
    call : mapping or None
        Seconds of one call of the rivals' denoiser.
    """

    data: str
    rows: Mapping[str, Mapping[str, Any]]
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    call: Mapping[str, Any] | None = None

    def title(self, end: str) -> str:
        """What Table 1 calls a row, or what it is a control for."""
        short = end.removesuffix(LONG)
        called = TABLE_1[short][0] if short in TABLE_1 else f"T = {self.rows[end]['steps']}"
        if not end.endswith(LONG):
            return called
        row = self.rows[end]
        return f"{called}, {row['trained_images'] // RECIPES[row['checkpoint']].batch:,} steps"

    def trained(self, end: str) -> str:
        """The row of that end which was trained for longer, if there are two."""
        return end + LONG if end + LONG in self.rows else end


def read(data: str, path: Path = results.FOLDER / "semantics.json") -> Measured:
    """What there is of a data set; no rows before the tool has run.

    Parameters
    ----------
    data : str
        Name of a data set, as in "fashion_mnist".
    path : Path

    Raises
    ------
    DataError
        If the table is damaged.

    Notes
    -----
    Source: PD-7, PD-8.
    """
    if not path.exists():
        return Measured(data, {})
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        rows = {row["checkpoint"].partition("-")[2]: row for row in table.get("rows", []) if row["data"] == data}
        beside = {entry["called"]: entry for entry in table.get("baselines", []) if entry["data"] == data}
        calls = [entry for entry in table.get("calls", []) if entry["data"] == data]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"data/results/{path.name} is damaged: restore it with git checkout.") from error
    order = [*TABLE_1, *sorted(set(rows) - set(TABLE_1))]
    return Measured(data, {end: rows[end] for end in order if end in rows}, beside, calls[0] if calls else None)


def longest(short: str, end: str, here: Collection[str]) -> str | None:
    """The checkpoint of a data set and an end that was trained for longest, of those that are there."""
    return next((name for name in (f"{short}-{end}{LONG}", f"{short}-{end}") if name in here), None)


def quality(row: Mapping[str, Any]) -> boards.Entry:
    """The distance that stands for a row: with the prior where it has one, else with what it is drawn from."""
    return _entry(row["distance"][_best_kind(row)])


def terms(objective: Adversarial) -> tuple[list[str], list[tuple[str, str, str, str]]]:
    """The terms of an objective: where they act, whom they train, and with which weight.

    Returns
    -------
    columns : list of str
    lines : list of tuples of str

    Notes
    -----
    Source: PD-4, Eq. 6, 9 and 10.
    """
    weights = objective.predicts["weights"]
    acting = (
        ("adversarial (Eq. 6)", "all t", "generator, encoder, discriminator", "adversarial"),
        ("pixels (Eq. 9)", "t = T", "generator, encoder", "pixels"),
        ("features (Eq. 9)", "t = T", "generator, encoder", "features"),
        ("preserve (Eq. 10)", "t < T", "generator", "preserve"),
        ("R1", f"all t, every {objective.interval} steps", "discriminator", "r1"),
    )
    lines = [(term, where, whom, f"{weights[name]:g}") for term, where, whom, name in acting]
    return ["term", "where it acts", "whom it trains", "weight"], lines


def table_1(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Table 1's rows as measured here: distance with interval, scores, and how rough the latent space is.

    Returns
    -------
    columns : list of str
    lines : list of list of str

    Notes
    -----
    Source: PD-8, Table 1.
    """
    columns = ["method", "vectors from", "FD", *SCORES, "roughness of the latent space", "images seen"]
    lines = []
    for end, row in found.rows.items():
        if end.endswith(LONG):
            continue
        way = row["ways"].get("z_T") or row["ways"]["z"]
        for kind, distance in row["distance"].items():
            scores = [_number(distance["scores"][called]) for called in SCORES]
            lines.append([
                found.title(end), kind, _interval(_entry(distance)), *scores, _rough(way), f"{row['trained_images']:,}",
            ])  # fmt: skip
    return columns, lines


def verdict_table_1(found: Measured) -> str:
    """Whether the parts act as in Table 1, each against the row before it.

    Notes
    -----
    Source: PD-8, Table 1.
    """
    order = [SPECIAL, *CLAIMED]
    if (why := _unequal(found, [BASE, *order])) is not None:
        return f"The order of Table 1 cannot be judged yet: {why}."
    kind = _kind(found, order)
    by = {end: _of_kind(found.rows[end], kind) for end in (BASE, *order)}
    said, right = [], []
    for before, end in pairwise(order):
        sign = boards.apart(by[end], by[before])
        right.append(sign == CLAIMED[end])
        words = {0: "not apart", CLAIMED[end]: "as in the paper", -CLAIMED[end]: "the other way"}[sign]
        said.append(f"{found.title(end)}: {_number(by[before].value)} → {_number(by[end].value)}, {words}")
    verdict = "holds" if all(right) else "does not hold"
    return (
        f"{'; '.join(said)}. The first is against the baseline on the same schedule; on the common one the baseline is "
        f"at {_interval(by[BASE])}. Vectors are {KINDS[kind]}. That the parts act in this order **{verdict}** on "
        f"{found.data}."
    )


def verdict_progressive(found: Measured) -> str:
    """Whether training that turns progressively to details beats P held constant, and t drawn uniformly.

    Notes
    -----
    Source: PD-5, Eq. 11; PD-8, the sixth row that the text names.
    """
    order = [FULL, *CONTROLS]
    if (why := _unequal(found, order)) is not None:
        return f"PD-5 cannot be judged yet: {why}."
    seen = found.rows[FULL]["trained_images"]
    others = [end for end in OTHERS if end in found.rows and found.rows[end]["trained_images"] == seen]
    kind = _kind(found, [*order, *others])
    own = _of_kind(found.rows[FULL], kind)
    signs = {end: boards.apart(own, _of_kind(found.rows[end], kind)) for end in (*CONTROLS, *others)}
    words = {-1: "nearer than", 0: "not apart from", 1: "farther than"}
    said = [
        f"{words[sign]} {(CONTROLS | OTHERS)[end]} ({_interval(_of_kind(found.rows[end], kind))})"
        for end, sign in signs.items()
    ]
    better = all(signs[end] < 0 for end in CONTROLS)
    return (
        f"The progressive training is at {_interval(own)}, {', '.join(said)}; vectors are {KINDS[kind]}. That it beats "
        f"both controls **{'holds' if better else 'does not hold'}** on {found.data}."
    )


def _unequal(found: Measured, ends: Collection[str]) -> str | None:
    """Why rows cannot be compared: one is missing, or they have seen unlike numbers of images."""
    if missing := [end for end in ends if end not in found.rows]:
        return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not measured on {found.data}"
    seen = {found.rows[end]["trained_images"] for end in ends}
    return None if len(seen) == 1 else f"its rows have seen {min(seen):,} to {max(seen):,} images"


def _of_kind(row: Mapping[str, Any], kind: str) -> boards.Entry:
    """Its distance with vectors from there; that of a row without an encoder."""
    distance = row["distance"]
    return _entry(distance["noise"] if "noise" in distance else distance[kind])


def _kind(found: Measured, ends: Collection[str]) -> str:
    """Where vectors come from in a comparison: the prior, if all that are told vectors have one."""
    told = [found.rows[end]["distance"] for end in ends if "noise" not in found.rows[end]["distance"]]
    return "prior" if all("prior" in distance for distance in told) else "gaussian"


def ways(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Every input of every row, and the baselines: how smooth interpolation is.

    Notes
    -----
    Source: PD-7, Fig. 3.
    """
    columns = ["method", "interpolated", "roughness", "monotone", "classes that change"]
    lines = [
        [found.title(end), CALLED[kind], _rough(way), _number(way["monotone"]), f"{way['moved']:.0%}"]
        for end, row in found.rows.items()
        for kind, way in row["ways"].items()
    ]
    lines += [
        [called, "–", _rough(way), _number(way["monotone"]), f"{way['moved']:.0%}"]
        for called, way in found.baselines.items()
    ]
    return columns, lines


def verdict_ways(found: Measured) -> str:
    """Whether interpolation of z_T is smoother than of the baseline's z and of DDIM's x_T.

    Notes
    -----
    Where nothing happens the way is smooth: a rival counts if it changes the class at least half as often as z_T.

    Source: PD-7, section 5.2.
    """
    full, base = found.trained(FULL), found.trained(BASE)
    if full not in found.rows:
        return f"PD-7 cannot be judged yet: {FULL} is not measured on {found.data}."
    own = found.rows[full]["ways"]["z_T"]
    rivals = {}
    if base in found.rows:
        rivals["the baseline's z"] = found.rows[base]["ways"]["z"]
    if "DDIM, 50 steps" in found.baselines:
        rivals["DDIM's x_T"] = found.baselines["DDIM, 50 steps"]
    if not rivals:
        return "PD-7 cannot be judged yet: neither the baseline nor DDIM is measured."
    counted = {called: way for called, way in rivals.items() if way["moved"] >= MOVES * own["moved"]}
    said = [
        f"that of {called} {_rough(way)}{'' if called in counted else ' (it hardly changes the class)'}"
        for called, way in rivals.items()
    ]
    if not counted:
        return f"PD-7 cannot be judged: no rival changes the class half as often as z_T does on {found.data}."
    seen = {found.rows[end]["trained_images"] for end in (full, base) if end in found.rows}
    unlike = "" if len(seen) == 1 else f" The two have seen {min(seen):,} and {max(seen):,} images."
    smoother = all(own["high"] < way["low"] for way in counted.values())
    pixels = found.baselines.get("pixels")
    beside = f" Blended pixels have {_rough(pixels)}." if pixels else ""
    return (
        f"Roughness of z_T is {_rough(own)}, {' and '.join(said)}: that z_T alone is smooth "
        f"**{'holds' if smoother else 'does not hold'}** on {found.data}.{unlike}{beside}"
    )


def explained(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Share of the variance of features that each of the four inputs explains, by row; and by how much a test image
    that is drawn again from its own z_T is missed, on average over its pixels.

    Notes
    -----
    Source: PD-2, Fig. 5.
    """
    columns = ["method", *CALLED.values(), "test images again, off by"]
    lines = [
        [
            found.title(end),
            *(_seeds(row["explained"][kind]) if kind in row["explained"] else "–" for kind in CALLED),
            f"{row['seen again']:.3f}" if "seen again" in row else "–",
        ]
        for end, row in found.rows.items()
    ]
    return columns, lines


def verdict_explained(found: Measured) -> str:
    """Whether z_T explains more than x_T and z do, with every seed; the fourth input is told of.

    Notes
    -----
    Source: PD-2, section 5.4.
    """
    full = found.trained(FULL)
    if full not in found.rows:
        return f"PD-2 cannot be judged yet: {FULL} is not measured on {found.data}."
    shares = found.rows[full]["explained"]
    rest = {kind: share for kind, share in shares.items() if kind != "z_T"}
    largest = max(rest, key=lambda kind: sum(rest[kind]))
    holds = all(min(shares["z_T"]) > max(shares[kind]) for kind in ("x_T", "z"))
    said = f"z_T explains {_seeds(shares['z_T'])} of the variance, the largest of the other three, {CALLED[largest]}, "
    return (
        f"{said}{_seeds(rest[largest])}: that z_T decides what is shown **{'holds' if holds else 'does not hold'}** "
        f"on {found.data}."
    )


def prior(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Calls, seconds per 100 images, distance and signs of copies of both ways to a semantic vector.

    Notes
    -----
    Source: PD-6, section 5.1.
    """
    columns = [
        "method",
        "vectors from",
        "calls of the prior",
        "of the generator",
        "s for 100 vectors",
        "s for 100 images",
        "FD",
        NEARER,
    ]
    lines = []
    for end, row in found.rows.items():
        for kind, calls in (("gaussian", 0), ("prior", PRIOR_CALLS)):
            if kind in row["distance"] and kind in row["seconds"]:
                seconds = row["seconds"]
                lines.append([
                    found.title(end), kind, str(calls), str(row["steps"]), _number(seconds[kind]),
                    _number(seconds["generator"]), _interval(_entry(row["distance"][kind])),
                    f"{row['distance'][kind]['nearer']:.1%}",
                ])  # fmt: skip
    return columns, lines


def verdict_prior(found: Measured) -> str:
    """Whether the prior's calls may be left out of a count.

    Notes
    -----
    Source: PD-6, section 5.1 (Table 3 counts two calls).
    """
    row = found.rows.get(found.trained(FULL))
    if row is None or "prior" not in row["distance"]:
        return f"PD-6 cannot be judged yet: {FULL} has no prior that was measured on {found.data}."
    seconds, distance = row["seconds"], row["distance"]
    slower = seconds["prior"] > seconds["generator"]
    worse = boards.apart(_entry(distance["gaussian"]), _entry(distance["prior"])) > 0
    times = _number(seconds["prior"] / seconds["generator"])
    verdict = "does not hold" if slower and worse else "holds"
    return (
        f"{PRIOR_CALLS} calls of the prior take {times} times as long as the {row['steps']} of the generator, and "
        f"Gaussian vectors, which take none, are {'worse' if worse else 'not worse'} than the prior's: that its calls "
        f"need not be counted **{verdict}** on {found.data}."
    )


def directions(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Every class as an attribute: how well it is found, how far its mean is from that of all else, and its probability
    before and after edits: near and far along the classifier's normal, and far along the difference of the means.

    Notes
    -----
    Source: PD-7, attribute manipulation.
    """
    row = found.rows.get(found.trained(FULL), {})
    lines = [
        [
            class_names(found.data)[entry["class"]],
            f"{entry['accuracy']:.0%}",
            *(_number(entry[key]) for key in ("gap", *EDITS)),
        ]
        for entry in row.get("directions", [])
    ]
    return ["class", "accuracy of the linear classifier", "means apart, in √d", *EDITS.values()], lines


def moves(found: Measured, weights: str) -> dict[str, Tensor]:
    """What an edit by 1 towards a class, along the difference of the means, adds to z_T, (latent,), by the class's
    name; none of other weights.

    Parameters
    ----------
    found : Measured
    weights : str
        Hash of the weights of the full model that is there.

    Notes
    -----
    Source: PD-7, BASE-DIFFAE.
    """
    row = found.rows.get(found.trained(FULL), {})
    if row.get("weights") != weights:
        return {}
    called = class_names(found.data)
    return {called[entry["class"]]: torch.tensor(entry["moves"]) for entry in row["directions"] if "moves" in entry}


def ends(found: Measured, weights: str) -> Tensor | None:
    """Semantic vectors of test images, (N, latent), to drag between; None where those of these weights are not known.

    The first half are one end each, the second half the other.

    Parameters
    ----------
    found : Measured
    weights : str
        As for :func:`moves`.

    Notes
    -----
    Source: PD-7, Fig. 3.
    """
    row = found.rows.get(found.trained(FULL), {})
    return torch.tensor(row["ends"]) if row.get("weights") == weights and "ends" in row else None


def speed(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Calls, seconds per 100 images, distance and scores, beside a denoiser of the same data that is told no class.

    Notes
    -----
    Source: PD-8, Tables 2 and 3.
    """
    lines = []
    for end in map(found.trained, (BASE, "ddgan4", FULL)):
        if end in found.rows:
            row = found.rows[end]
            calls, seconds = _cost(row)
            scores = row["distance"][_best_kind(row)]["scores"]
            lines.append(
                [
                    found.title(end),
                    calls,
                    _number(seconds),
                    _interval(quality(row)),
                    *(_number(scores[k]) for k in SCORES),
                ]
            )
    for entry, seconds, scores in _rivals(found):
        lines.append(
            [
                entry.method,
                str(entry.nfe),
                _number(seconds),
                _interval(entry),
                *(_number(scores[k]) for k in SCORES),
            ]
        )
    return ["method", "network calls", "s for 100 images", "FD", *SCORES], lines


def judges(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Distances of the same images in the features of several networks, of which the first has learnt these classes.

    Notes
    -----
    Source: PD-8; ``tools/measure_agreement.py``.
    """
    seen = _judged(found)
    names = list(dict.fromkeys(judge for distances in seen.values() for judge in distances))
    ours = {row["checkpoint"]: found.title(end) for end, row in found.rows.items()}
    lines = [
        [
            ours.get(who) or SAMPLERS[sampler],
            str(nfe) if nfe else "–",
            *(_number(seen[who, sampler, nfe][name]) for name in names),
        ]
        for who, sampler, nfe in sorted(seen, key=lambda key: key[0] not in ours)  # ours first, the others as they come
    ]
    return ["method", "network calls", *(f"FD-{name}" for name in names)], lines


def verdict_judges(found: Measured) -> str:
    """How the full model stands beside DDIM with 50 calls, judge by judge.

    Notes
    -----
    Source: PD-8.
    """
    full, rival = found.rows.get(found.trained(FULL)), RIVALS.get(found.data)
    seen = _judged(found)
    own = next((d for (who, _, _), d in seen.items() if full and who == full["checkpoint"]), None)
    ddim = None if rival is None else seen.get((rival.checkpoint, "ddim", 50))
    if own is None or ddim is None:
        return f"The judges cannot be compared: {FULL} or DDIM with 50 calls was not shown to them on {found.data}."
    ratios = {judge: own[judge] / ddim[judge] for judge in own}
    said = ", ".join(f"{_number(ratio)} in those of {judge}" for judge, ratio in ratios.items())
    if all(ratio < 1 for ratio in ratios.values()):
        sees = "Every judge sees it nearer."
    elif all(ratio <= WORSE for ratio in ratios.values()):
        sees = f"Every judge sees it within {WORSE:g} times, and not every one nearer."
    else:
        sees = f"Not every judge sees it within {WORSE:g} times."
    return f"The full model's distance over that of DDIM with 50 calls is {said}. {sees}"


def _judged(found: Measured) -> dict[tuple[str, str, int], dict[str, float]]:
    """By checkpoint, sampler and calls: the distance in the features of every judge."""
    path, rival = results.FOLDER / "feature_agreement.json", RIVALS.get(found.data)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() and rival else []
    seen: dict[tuple[str, str, int], dict[str, float]] = {}
    for row in rows:
        if rival and row["network"] == rival.checkpoint and row["sampler"] in SAMPLERS:
            key = (row.get("checkpoint", ""), row["sampler"], row["nfe"])
            seen.setdefault(key, {})[row["extractor"]] = row["distance"]
    return seen


def verdict_speed(found: Measured) -> str:
    """Whether two steps are competitive with 50 of DDIM, and with DPM-Solver++ in the same time.

    Notes
    -----
    Source: PD-8, section 5.3.
    """
    rivals, full = _rivals(found), found.trained(FULL)
    fifty = [(entry, seconds) for entry, seconds, _ in rivals if entry.method == "DDIM" and entry.nfe == 50]
    if full not in found.rows or not fifty:
        return f"PD-8 cannot be judged yet: {FULL} or DDIM with 50 calls is not measured on {found.data}."
    if f"{RIVALS[found.data].checkpoint}{LONG}" in PLANNED and not full.endswith(LONG):
        return f"PD-8 cannot be judged yet: {FULL}{LONG} is not measured on {found.data}."
    row, (ddim, slow) = found.rows[full], fifty[0]
    own, taken = quality(row), _cost(row)[1]
    if ddim.count != own.count:
        return f"PD-8 cannot be judged: distances are of {own.count} images here and of {ddim.count} there."
    ratio, faster = own.value / ddim.value, slow / taken
    # The interval of the difference to 1.5 times the other's distance, both independent.
    farther = own.value - WORSE * ddim.value
    told = abs(farther) > math.hypot(own.half, WORSE * ddim.half)
    as_fast = [e for e, seconds, _ in rivals if e.method == "DPM-Solver++(2M)" and seconds <= taken]
    beaten = [e for e in as_fast if boards.apart(e, own) <= 0]
    overturned = (told and farther > 0) or faster < FASTER or bool(beaten)
    verdict = "does not hold" if overturned else "holds" if told else "cannot be told"
    solver = f"DPM-Solver++ with {beaten[0].nfe} calls is as good in that time" if beaten else (
        "DPM-Solver++ is not as good in that time" if as_fast else "DPM-Solver++ has no entry as fast"
    )  # fmt: skip
    side = f"{'more' if farther > 0 else 'less'} than" if told else "not apart from"
    return (
        f"The distance is {_number(ratio)} times that of DDIM with 50 calls, {side} {WORSE:g} times, at "
        f"{_number(faster)} times its speed, the prior's calls counted; {solver}: that two steps are competitive "
        f"**{verdict}** on {found.data}."
    )


def _rivals(found: Measured) -> list[tuple[boards.Entry, float, dict[str, float]]]:
    """Entries of the denoiser's table, with seconds for 100 images, calls times the seconds of one, and scores."""
    if found.call is None or found.data not in RIVALS:
        return []
    rival, methods = RIVALS[found.data], tuple(FEW_CALLS)
    if not (results.FOLDER / f"{rival.table}.json").exists():
        return []
    entries = boards.read(rival.table, methods=methods)
    scores = {
        called: {
            (e.method, e.nfe): e.value for e in boards.read(rival.table, metric.format(judge=rival.judge), methods)
        }
        for called, metric in SCORES.items()
    }
    taken = float(found.call["seconds"])
    return [(e, e.calls * taken, {k: by[e.method, e.nfe] for k, by in scores.items()}) for e in entries]


def _cost(row: Mapping[str, Any]) -> tuple[str, float]:
    """Calls in words and seconds for 100 images, with the prior's where the quality is the prior's."""
    seconds, steps = row["seconds"], row["steps"]
    if "prior" in row["distance"] and "prior" in seconds:
        return f"{steps} + {PRIOR_CALLS} of the prior", seconds["generator"] + seconds["prior"]
    return str(steps), seconds["generator"] + seconds.get("gaussian", 0.0)


def _best_kind(row: Mapping[str, Any]) -> str:
    return next(kind for kind in ("prior", "gaussian", "noise") if kind in row["distance"])


def _entry(distance: Mapping[str, Any]) -> boards.Entry:
    """As the other tables have it, of a GAN's few calls."""
    value, low, high = (distance[key] for key in ("value", "low", "high"))
    return boards.Entry("", 0, 0, value, low, high, distance.get("floor", 0.0), distance["seeds"], distance["images"])


def _interval(entry: boards.Entry) -> str:
    return f"{_number(entry.value)} ± {_number(entry.half)}"


def _rough(way: Mapping[str, Any]) -> str:
    value, low, high = ("–" if way[key] is None else f"{way[key]:.2f}" for key in ("roughness", "low", "high"))
    return f"{value} ({low} to {high})"


def _seeds(values: Sequence[float]) -> str:
    """A share: the mean over seeds, and their ends."""
    return f"{sum(values) / len(values):.0%} ({min(values):.0%} to {max(values):.0%})"


def _number(value: float | None) -> str:
    return f"{value:.3g}" if value is not None and math.isfinite(value) else "–"
