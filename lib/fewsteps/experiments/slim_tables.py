"""What ``tools/measure_slim.py`` and the slim networks' tables found, as chapter 08 shows it: tables and sentences."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fewsteps import results
from fewsteps.errors import DataError
from fewsteps.experiments import boards
from fewsteps.experiments.grids import WEIGHT
from fewsteps.experiments.slim import BANDS, COLUMNS, FEWER, LITE, SLIM, TEACHER


def measured(teacher: str) -> dict[str, dict[str, Any]]:
    """What ``tools/measure_slim.py`` found, by what a network is called, the teacher first.

    Parameters
    ----------
    teacher : str
        Whose slim networks they are.

    Raises
    ------
    DataError
        If the table is not there.
    """
    rows = {row["called"]: row for row in results.read(f"slim-networks-{teacher}")["rows"]}
    return {called: rows[called] for called in (TEACHER, *COLUMNS) if called in rows}


def sentences(table: str) -> list[str]:
    """What a table of slim networks says, in words.

    Parameters
    ----------
    table : str
        In data/results; of a table without the teacher, what is compared with Lite.

    Returns
    -------
    list of str
        As in "gates: 0.93 times Lite's distance, apart." and, of the slim network, to whose distance its own is nearer.

    Raises
    ------
    DataError
        If the table is not there.

    Notes
    -----
    Source: SD-8, SD-9.
    """
    entries = boards.read(table)
    by = {entry.method: entry for entry in entries}
    said = []
    for called in COLUMNS:
        if called != LITE and called in by and LITE in by:
            words = "apart" if boards.apart(by[called], by[LITE]) else "not apart"
            said.append(f"{called}: {by[called].value / by[LITE].value:.2f} times Lite's distance, {words}.")
    if by.keys() >= {TEACHER, SLIM, LITE}:
        own, lite, large = (by[called].value for called in (SLIM, LITE, TEACHER))
        nearer = "the teacher's" if abs(own - large) < abs(own - lite) else "Lite's"
        said.append(
            f"The slim network's distance is {own / large:.2f} times the teacher's and {own / lite:.2f} times Lite's, "
            f"nearer to {nearer}."
        )
    if SLIM in by and FEWER in by:
        fewer, own = by[FEWER], by[SLIM]
        words = "apart" if boards.apart(fewer, own) else "not apart"
        said.append(
            f"The teacher, given the multiply-adds that the slim network takes for {own.nfe} steps, which are "
            f"{fewer.nfe} of its own: {fewer.value / own.value:.2f} times the slim network's distance, {words}."
        )
    return said


def spread(values: Sequence[float]) -> str:
    """A mean, with half the range of several as they vary."""
    middle, half = sum(values) / len(values), (max(values) - min(values)) / 2
    return f"{middle:.3g}" if len(values) == 1 else f"{middle:.3g} ± {half:.1g}"


def worth(table: str) -> tuple[list[str], list[list[str]], list[boards.Entry]]:
    """Distances by network, with the number of seeds, in the order of Table 5; and the entries that they are of.

    Parameters
    ----------
    table : str
        In data/results.

    Raises
    ------
    DataError
        If the table is not there.

    Notes
    -----
    Source: SD-8, SD-9, Table 5.
    """
    found = {entry.method: entry for entry in boards.read(table)}
    names = [name for name in (TEACHER, *COLUMNS, FEWER) if name in found]
    entries = [found[name] for name in names]
    first = entries[0]
    rows = [
        [e.method, str(e.nfe), str(e.seeds), f"{e.value:.3g} ± {e.half:.1g}", f"{e.value / first.value:.2f}"]
        for e in entries
    ]
    return ["network", "steps", "seeds", "FD", f"over {first.method}'s"], rows, entries


def told(table: str, teacher: str) -> list[str]:
    """All that is said of a teacher's slim networks: their distances, their bands, and what their gates are worth.

    Parameters
    ----------
    table : str
        In data/results, of distances.
    teacher : str

    Raises
    ------
    DataError
        If a table is not there.
    """
    found = measured(teacher)
    return [*sentences(table), *(lost_by(found, called) for called in (LITE, SLIM)), *held(found)]


def costs(found: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, int, float, float]]:
    """What :func:`measured` networks cost, for :func:`cost_rows`."""
    speeds = {called: row["speed"] for called, row in found.items()}
    return {
        called: (row["parameters"], row["macs"], speeds[called]["images_per_s"], speeds[called]["half"])
        for called, row in found.items()
    }


def cost_rows(costs: Mapping[str, tuple[int, int, float, float]]) -> tuple[list[str], list[list[str]]]:
    """What networks cost, the first of them being what the others are compared with.

    Parameters
    ----------
    costs : mapping
        Of what a network is called to its parameters, its multiply-adds for one image, and images per second with half
        the distance between the quartiles.

    Notes
    -----
    Source: SD-8, Tables 2 and 3, Fig. 6.
    """
    _, first, fastest, _ = next(iter(costs.values()))
    rows = [
        [
            called,
            f"{parameters / 1e6:.2f} M",
            f"{macs / 1e6:.1f} M",
            f"{first / macs:.1f}",
            f"{rate:.0f} ± {half:.0f}",
            f"{rate / fastest:.1f}",
        ]
        for called, (parameters, macs, rate, half) in costs.items()
    ]
    return ["network", "parameters", "multiply-adds", "fewer by", "images/s through one call", "faster by"], rows


def between_real(teacher: str) -> str:
    """The band errors of real images against as many others, in a sentence: what no network can fall below.

    Parameters
    ----------
    teacher : str
        Whose slim networks were measured on that data set.

    Raises
    ------
    DataError
        If the table is not there.

    Notes
    -----
    Source: SD-3, Table 1.
    """
    low, high = results.read(f"slim-networks-{teacher}")["real"]
    return f"Two sets of as many real images: {low:.3g} below the cut and {high:.3g} above it."


def band_rows(found: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Errors below and above the paper's cut, and by what factor they are those of the first network on equal seeds.

    Parameters
    ----------
    found : mapping
        As :func:`measured` gives it.

    Notes
    -----
    Source: SD-3, Table 1.
    """
    first = next(iter(found))
    rows = []
    for called, row in found.items():
        low, high = zip(*row["bands"], strict=True)
        factors = (f"{factor:.2f}" for factor in _factors(found, called))
        rows.append([called, str(len(low)), spread(low), spread(high), *factors])
    columns = ["network", "seeds", "below the cut", "above it", f"below, over {first}'s", f"above, over {first}'s"]
    return columns, rows


def lost_by(found: Mapping[str, Mapping[str, Any]], called: str) -> str:
    """Whether a network has lost more above the cut than below it, in a sentence.

    The two factors are compared seed by seed, with Student's interval: from one seed alone nothing can be told.

    Parameters
    ----------
    found : mapping
        As :func:`measured` gives it, the one it is compared with first.
    called : str

    Raises
    ------
    DataError
        If there is no such network.
    """
    if called not in found:
        raise DataError(f"{called!r} is not among those that were measured: {', '.join(found)}.")
    first = next(iter(found))
    low, high = _factors(found, called)
    said = f"{called}: its error is {low:.2f} times that of {first} below the cut and {high:.2f} times above it"
    pairs = list(zip(found[called]["bands"], found[first]["bands"], strict=False))
    if len(pairs) < 2:
        return f"{said}; one seed does not tell whether it grew more there."
    more, half = _interval([own[1] / other[1] - own[0] / other[0] for own, other in pairs])
    words = "more above the cut than below it" if more > half else "less above the cut than below it"
    words = f"so it grew {words}" if abs(more) > half else "and seeds do not tell whether it grew more there"
    return f"{said}, {words} ({more:+.2f} ± {half:.2f} over {len(pairs)} seeds)."


def _factors(found: Mapping[str, Mapping[str, Any]], called: str) -> list[float]:
    own, first = found[called]["bands"], found[next(iter(found))]["bands"]
    # Over the seeds that both have: from one seed to the next an error moves by more than from one network to another.
    pairs = list(zip(own, first, strict=False))
    return [_mean([one[k] for one, _ in pairs]) / _mean([other[k] for _, other in pairs]) for k in range(2)]


def by_weight(table: str, metric: str = "FD") -> dict[str, list[tuple[float, boards.Entry]]]:
    """Guidance weights and what was measured there, by network, the weights rising.

    Parameters
    ----------
    table : str
        Of ``fewsteps sweep guidance-TEACHER``.
    metric : str

    Raises
    ------
    DataError
        If the table is not there, or holds no such metric.
    """
    found: dict[str, list[tuple[float, boards.Entry]]] = {}
    for entry in boards.read(table, metric):
        called, _, weight = entry.method.rpartition(WEIGHT)
        found.setdefault(called, []).append((float(weight), entry))
    named = (TEACHER, *COLUMNS)
    return {called: sorted(found[called], key=lambda pair: pair[0]) for called in named if called in found}


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of two or more, and half of Student's 95 % interval."""
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return _mean(values), half


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def gate_rows(row: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Share of the variance of a network's gates that the step explains, by layer and band.

    Parameters
    ----------
    row : mapping
        Of a network with gates, out of :func:`measured`.

    Notes
    -----
    Source: SD-9, Fig. 9.
    """
    return ["layer", *BANDS], [[gate["layer"], *(f"{share:.0%}" for share in gate["by_time"])] for gate in row["gates"]]


def held(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What holding every gate at its mean costs each network that has gates, a sentence each.

    The interval is Student's over seeds, of the difference of the two distances, which are of the same noise.

    Parameters
    ----------
    found : mapping
        As :func:`measured` gives it.

    Raises
    ------
    DataError
        If there is but one seed.

    Notes
    -----
    Source: SD-5, Fig. 9.
    """
    sentences = []
    for called, row in found.items():
        if not (said := row.get("held")):
            continue
        if len(said["free"]) < 2:
            raise DataError(f"{called} was measured with one seed alone: its held gates have no interval.")
        change, half = _interval([fixed - free for fixed, free in zip(said["held"], said["free"], strict=True)])
        words = "farther" if change > half else "nearer" if change < -half else "not apart"
        sentences.append(
            f"{called}: {_mean(said['free']):.3f} with its gates as they are, {change:+.3f} ± {half:.1g} with each "
            f"held at its mean over time and images, {words} ({len(said['free'])} seeds of {said['count']} images)."
        )
    return sentences


def guided(table: str) -> tuple[list[str], list[list[str]], dict[str, boards.Entry]]:
    """Every network at the guidance weight that is best for it, chosen on the first seed and judged on the others.

    Parameters
    ----------
    table : str
        Of ``fewsteps sweep guidance-TEACHER``.

    Returns
    -------
    columns : list of str
    rows : list of list of str
    judged : dict of str to boards.Entry
        The same by network.

    Raises
    ------
    DataError
        If the table is not there, is of one seed alone, or lacks some of a network's.

    Notes
    -----
    Source: SD-10, Table 3.
    """
    first, *rest = boards.seeds(table)
    if not rest:
        raise DataError(f"{table} is of one seed: best weights would be judged on what they were chosen by.")
    best: dict[str, tuple[float, str]] = {}
    for entry in boards.read(table, seeds=[first]):
        called = entry.method.rpartition(WEIGHT)[0]
        best[called] = min(best.get(called, (entry.value, entry.method)), (entry.value, entry.method))
    rows, judged = [], {}
    for called, (_, method) in best.items():
        found = [boards.read(table, metric, [method], seeds=rest) for metric in ("FD", "recall")]
        if any(not entries or entries[0].seeds < len(rest) for entries in found):
            raise DataError(f"{table} has not all seeds of {method}: fewsteps sweep {table} makes them.")
        (distance,), (recall,) = found
        judged[called] = distance
        weight = method.rpartition(WEIGHT)[2]
        rows.append(
            [called, weight, f"{distance.value:.3g} ± {distance.half:.1g}", f"{recall.value:.2f} ± {recall.half:.1g}"]
        )
    return ["network", "best weight", "FD there", "recall"], rows, judged
