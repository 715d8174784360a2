"""Measure PixelAware's networks into ``data/results/pixel_aware.json``.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_pixel.py [DATA ...] [--suffix -200] [--count 1000] [--seeds 3]

DATA is mnist, fashion or cifar10; default all whose networks are among the checkpoints. Laws of x_T are fitted to
training images and stored in ``data/statistics``; scores of the gates go on the cards. What was measured of the same
weights stands, so that a run that was stopped goes on, and two data sets may be measured one after the other. The
samplers of Tables 1 and 2 run on the data set's own network, once for all T. The result holds no image.

With ``--folder`` the networks are taken from there, where laws go as well; with ``--out`` the result goes elsewhere;
with ``--only rivals`` the samplers of Tables 1 and 2 alone are measured, for which no network of PixelAware need be
there, with ``--only networks`` all else, with ``--only images`` their images, and with ``--only laws`` the laws are
fitted. Two processes at once need a result each: ``--part 1 4`` measures every fourth of the images, for
four processes, and ``--join FILE ...`` adds the rows of these to the result. With ``--device cuda`` the networks are
on a GPU and all else stays where it is; seconds per image are then not written down.

    python tools/measure_pixel.py --memory 50 100 200

measures the largest memory of a training step instead, every T in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from fewsteps import checkpoints, results, trained
from fewsteps.errors import DataError
from fewsteps.experiments import gates, pixel_aware, pixel_tables, references, starts
from fewsteps.experiments import pixel_measures as measures
from fewsteps.experiments.sampling import Plan, sample
from fewsteps.training.loop import machine

RESULT = results.FOLDER / "pixel_aware.json"
SCORED = 256  # test images of the scores
TRAJECTORIES = 512  # test images of the noise errors
TIMED, LEAST_TIMED = 128, 8  # images of a time, and of one of many hundred calls
SIZES = (0.0, 0.001, 0.01, 0.1)
RIVALS = {
    "DDPM, 1000": ("ddpm_large", 1000, "uniform"),
    "DDPM, 50": ("ddpm_large", 50, "uniform"),
    "VE-PC, 1000 steps": ("pc", 2000, "geometric"),
    "DDIM, 10": ("ddim", 10, "uniform"),
    "DDIM, 100": ("ddim", 100, "uniform"),
    "DDIM, 1000": ("ddim", 1000, "uniform"),
    "DPM-Solver++, 10": ("dpmpp_2m", 10, "karras"),
    "DPM-Solver++, 34": ("dpmpp_2m", 34, "karras"),
    "DPM-Solver++, 100": ("dpmpp_2m", 100, "karras"),
}
"""The samplers of Tables 1 and 2, and DDPM with as many steps as T: sampler, network calls, grid."""
LATE = "either"
"""The head that came later than the rest: it may be missing, and its weights stand in its own rows alone."""
KEYS = (
    *("kind", "data", "suffix", "T", "gamma", "weights", LATE, "checkpoint", "who", "i"),
    *("reading", "factor", "fresh", "size", "side", "form", "start", "seed", "images", "label", "batch", "sampled"),
)
"""What a row can be of."""
LONG, FEWER = 1000, 256
"""From how many calls a rival makes but so many images, of one seed: an hour's work and more for 1000."""


class Table:
    """Rows by what they are, kept on disk after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            self.rows = json.loads(path.read_text(encoding="utf-8"))["rows"]

    def has(self, **key: Any) -> bool:
        """Whether there is a row with all of these."""
        return any(all(row.get(name) == value for name, value in key.items()) for row in self.rows)

    def clear(self, **key: Any) -> None:
        """Take out the rows with all of these."""
        self.rows = [row for row in self.rows if not all(row.get(name) == value for name, value in key.items())]

    def add(self, *rows: dict[str, Any]) -> None:
        """Further rows, on the disk at once and together: of what belongs together a stop leaves all or nothing."""
        added = [results.rounded(row) for row in rows]
        results.write(self.path, "python tools/measure_pixel.py", [*self.rows, *added])
        self.rows += added
        for row in added:
            print({key: value for key, value in row.items() if not isinstance(value, (list, dict))}, flush=True)


def joined(table: Table, path: Path) -> None:
    """Take over the rows of another result, but those of what is there already."""
    if not path.exists():
        raise DataError(f"there is no result {path.name} to join.")
    known = [identity(row) for row in table.rows]
    new = [row for row in Table(path).rows if identity(row) not in known]
    table.add(*new)
    if left := len(Table(path).rows) - len(new):
        print(f"{path.name}: {left} rows are there already")


def identity(row: dict[str, Any]) -> dict[str, Any]:
    """What a row is of, without what was found."""
    return {key: row[key] for key in KEYS if key in row}


def missing(data_name: str, suffix: str, folder: Path) -> list[str]:
    """The networks that a data set cannot be measured without and that are not there.

    With T of 100 and 200 the scale's logarithm may be missing: the two are compared at 50.
    """
    there = pixel_aware.there(data_name, suffix, folder)
    spare = {LATE, "scale-log"} if suffix else {LATE}
    return [name for end, name in pixel_aware.names(data_name, suffix).items() if end not in {*there, *spare}]


def measure(
    data_name: str,
    suffix: str,
    table: Table,
    count: int,
    seeds: int,
    folder: Path = checkpoints.FOLDER,
    *,
    device: str = "cpu",
    only: str = "networks",
    part: tuple[int, int] = (1, 1),
) -> None:
    """All of one data set, or of the images of its networks alone a part, or the laws."""
    there = pixel_aware.there(data_name, suffix, folder)
    if absent := missing(data_name, suffix, folder):
        raise DataError(f"{', '.join(absent)} are not among the checkpoints: fewsteps train makes them.")
    ready = [end for end in ("parallel", "single", LATE) if end in there]
    networks = {end: pixel_aware.load(there[end], folder, device) for end in ready}
    parallel, single = networks["parallel"], networks["single"]
    ends = [end for end in ("scale", "scale-log", "direct") if end in there]
    estimators = {end: pixel_aware.Estimator(trained.load(there[end], folder)) for end in ends}
    source = parallel.model.card["data"]
    known, unseen = measures.pixels_of(source["name"], source["size"])
    sums = {end: checkpoints.card(name, folder)["weights"]["sha256"][:16] for end, name in there.items()}
    late = {LATE: sums.pop(LATE)} if LATE in there else {}
    about: dict[str, Any] = {"data": data_name, "suffix": suffix, "T": parallel.steps, "gamma": parallel.gamma}
    own = {"data": data_name, "suffix": suffix}
    about["weights"] = sums
    table.rows = [
        row
        for row in table.rows
        if {**row, **own} != row or ({**row, **about} == row and late.items() <= {**late, **row}.items())
    ]
    if only == "laws":
        laws_of(parallel.estimator, known, folder)
        return
    if only == "images":
        forms(networks, table, about, late, count, seeds, folder, part)
        return

    for end, name in there.items():
        key = {"kind": "network", "checkpoint": name, **about, **(late if end in late else {})}
        if not table.has(**key):
            table.add({**key, **pixel_aware.described(trained.load(name, folder))})
    places = sorted({1, *(max(1, round(parallel.steps * share)) for share in (0.25, 0.5, 0.75)), parallel.steps})
    if not table.has(kind="scale", **about):
        rows = measures.scale_scores(estimators, known, unseen[:SCORED], places)
        for end in ends:
            mean = sum(row["ssim_scale"] for row in rows if row["who"] == end) / len(places)
            checkpoints.record(there[end], folder, {"pixel": {"ssim_scale": mean}})
        table.add(*({"kind": "scale", **about, **row} for row in rows))
    for i in (parallel.steps, parallel.steps // 2):
        if not table.has(kind="noise", i=i, **about):
            found = measures.noise_errors(parallel, single, known, unseen[:TRAJECTORIES], i)
            ratios = {who: measures.noise_ratio(found, who) for who in ("network", "last", "single")}
            if i == parallel.steps:
                for end, who in (("parallel", "network"), ("single", "single")):
                    checkpoints.record(there[end], folder, {"pixel": {"noise_ratio": ratios[who]}})
            table.add({"kind": "noise", "i": i, **about, "errors": found, "ratios": ratios})
    if not table.has(kind="weights", **about):
        at = parallel.steps
        shares = measures.weight_of_scale(measures.calibrate(parallel, known, [at]), at)
        table.add({"kind": "weights", "i": at, **about, "scale": shares})
    if late and not table.has(kind=LATE, **about):
        found = measures.noise_errors(parallel, networks[LATE], known, unseen[:TRAJECTORIES], parallel.steps)
        ratio = measures.noise_ratio(found, "single")
        checkpoints.record(there[LATE], folder, {"pixel": {"noise_ratio": ratio}})
        table.add({"kind": LATE, **about, **late, "ratio": ratio})
    if not table.has(kind="algorithm", **about):
        rows = measures.algorithm_errors(unseen[:64], parallel.gamma, parallel.steps, SIZES)
        table.add(*({"kind": "algorithm", **about, **row} for row in rows))
    if not table.has(kind="squares", count=count, **about):
        table.clear(kind="squares", **about)
        table.add(*({"kind": "squares", **about, **row} for row in measures.squares(source, count)))

    forms(networks, table, about, late, count, seeds, folder, part)
    # All in one run, or they could not be compared: a row of fewer than all is measured anew.
    names = {f"DDPM, {parallel.steps}", *RIVALS, *(set(pixel_tables.ONE_PASS) & pixel_aware.FORMS.keys())}
    timed = [row for row in table.rows if {**row, "kind": "time", **about} == row]
    if not timed or not all(names <= row["seconds"].keys() for row in timed):
        table.clear(kind="time", **about)
        laws = laws_of(parallel.estimator, known, folder)
        ready = networks | {"parallel": measures.calibrate(parallel, known)}
        ways = ways_to_time(data_name, ready, laws)
        counts = {name: count for name, (_, count) in ways.items()}
        taken = measures.times(ways)
        table.add({"kind": "time", **about, "images": counts, "threads": torch.get_num_threads(), "seconds": taken})


def forms(
    networks: dict[str, pixel_aware.Reverse],
    table: Table,
    about: dict[str, Any],
    late: dict[str, str],
    count: int,
    seeds: int,
    folder: Path,
    part: tuple[int, int],
) -> None:
    """Images of every form from every start, or of these one part out of several."""
    wanted: list[tuple[pixel_aware.Form, dict[str, Any]]] = [
        (
            form,
            {"kind": "images", "form": name, "start": start, "seed": seed, "images": count}
            | (late if form.network in late else {}),
        )
        for name, form in pixel_aware.FORMS.items()
        if form.predictions <= about["T"] and form.network in networks
        for start in starts.STARTS
        for seed in range(seeds)
    ][part[0] - 1 :: part[1]]
    left = [(form, key) for form, key in wanted if not table.has(**key, **about)]
    if not left:
        return  # before the laws and the errors are worked out, which no row needs
    parallel = networks["parallel"]
    source = parallel.model.card["data"]
    known, _ = measures.pixels_of(source["name"], source["size"])
    laws = laws_of(parallel.estimator, known, folder)
    if any(form.network == "parallel" for form, _ in left):
        networks = networks | {"parallel": measures.calibrate(parallel, known)}
    beside = cache(partial(of_test, parallel.model.card, count))
    for form, key in left:
        found = of_form(form, networks[form.network], key["start"], laws, count, key["seed"], source, beside)
        table.add({**key, **about, **found})


def of_test(card: dict[str, Any], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The images that a network was trained on, and how near as many test images as `count` are to them."""
    known = measures.trained_on(card)
    _, unseen = measures.pixels_of(card["data"]["name"], card["data"]["size"])
    return known, measures.nearness_of_test(unseen, known, count)


def ways_to_time(
    data_name: str, networks: dict[str, pixel_aware.Reverse], laws: dict[str, starts.Law]
) -> dict[str, tuple[Callable[[], object], int]]:
    """One pass of every form, from the law of vectors, DDPM with as many steps, and the samplers of Tables 1 and 2; and
    of how many images, fewer where there are many calls.
    """
    steps = networks["parallel"].steps
    labels = gates.usual_labels(checkpoints.card(data_name))
    ways: dict[str, tuple[Callable[[], object], int]] = {}
    for name, (sampler, nfe, grid) in {f"DDPM, {steps}": ("ddpm_large", steps, "uniform"), **RIVALS}.items():
        some = min(TIMED, max(LEAST_TIMED, 50 * TIMED // nfe))
        ways[name] = partial(sample, Plan(data_name, sampler, nfe, grid, labels=labels, count=some)), some
    for name, form in pixel_aware.FORMS.items():
        if name in pixel_tables.ONE_PASS:
            ways[name] = partial(pixel_aware.sampled, form, networks[form.network], "latent", laws, TIMED, 0), TIMED
    return ways


def laws_of(estimator: pixel_aware.Estimator, known: torch.Tensor, folder: Path) -> dict[str, starts.Law]:
    """The laws of x_T that are stored for an estimator, fitted if there are none for its weights."""
    home = references.FOLDER if folder == checkpoints.FOLDER else folder
    name, sha256 = estimator.model.name, estimator.model.card["weights"]["sha256"]
    try:
        return starts.read(name, sha256, home)
    except DataError:
        about = {"weights": sha256, "data": estimator.model.card["data"]["name"], "images": len(known)}
        starts.save(name, about, measures.laws(estimator, known), home)
        return starts.read(name, sha256, home)  # as they will be read the next time, in half precision


def rival_rows(data_name: str, table: Table, count: int, seeds: int, device: str = "cpu") -> None:
    """Images of the samplers of Tables 1 and 2, which know nothing of T and of PixelAware's weights."""
    card = checkpoints.card(data_name)
    weights = card["weights"]["sha256"][:16]
    table.rows = [
        row for row in table.rows if (row["kind"], row.get("data")) != ("rival", data_name) or row["weights"] == weights
    ]
    for label, plan in sorted(rivals(data_name, count, seeds), key=lambda pair: pair[1].nfe >= LONG):  # hours last
        key = {"kind": "rival", "data": data_name, "weights": weights, "label": label, "seed": plan.seed}
        if not table.has(**key, images=plan.count):
            drawn, taken = measures.seconds(lambda plan=plan: sample(plan, device=device), plan.count)
            found = measures.distance(drawn.images, card["data"])
            cost = {"nfe": drawn.nfe, **spent(taken, device)}
            about = {"parameters": card["parameters"], "sampler": plan.sampler}
            table.add({**key, **about, "images": plan.count, **cost, **found})


def spent(taken: float, device: str) -> dict[str, Any]:
    """Seconds per image, or of a GPU its name alone: times are compared on one machine."""
    if device == "cpu":
        return {"seconds": taken, "threads": torch.get_num_threads()}
    return {"device": machine(torch.device(device))}


def of_form(
    form: pixel_aware.Form,
    reverse: pixel_aware.Reverse,
    start: str,
    laws: dict[str, starts.Law],
    count: int,
    seed: int,
    source: dict[str, Any],
    beside: Callable[[], tuple[torch.Tensor, torch.Tensor]],
) -> dict[str, Any]:
    """Distance, time and finite pixels of one form; from the law of vectors and the first seed its nearest neighbours,
    which takes longer than the images.
    """
    images, taken = measures.seconds(lambda: pixel_aware.sampled(form, reverse, start, laws, count, seed), count)
    said = {
        "nfe": form.nfe + (0.5 if start == "latent" else 0),
        **spent(taken, str(next(reverse.model.network.parameters()).device)),
        "finite": float(images.isfinite().double().mean()),
        "inside": float(((images >= 0) & (images <= 1)).double().mean()),
        **measures.distance(images, source),
    }
    if start == "latent" and seed == 0 and not form.factor:
        said["copies"] = measures.copies(images, *beside())
    return said


def rivals(data_name: str, count: int, seeds: int) -> Iterator[tuple[str, Plan]]:
    """The samplers of Tables 1 and 2 on the data set's own network, all classes in turn."""
    labels = gates.usual_labels(checkpoints.card(data_name))
    for label, (sampler, nfe, grid) in RIVALS.items():
        for seed in range(1 if nfe >= LONG else seeds):
            some = min(count, FEWER) if nfe >= LONG else count
            yield label, Plan(data_name, sampler, nfe, grid, labels=labels, count=some, seed=seed)


def memory(steps: int, sampled: int) -> None:
    """Print the largest memory that a training step on 64 images takes, beyond what the program had before."""
    from fewsteps.losses import ParallelNoise
    from fewsteps.networks import build
    from fewsteps.training import recipe

    network = build({**recipe("mnist-parallel").network, "heads": steps})
    objective = ParallelNoise(steps / 10, steps, lambda x, times: torch.full_like(x, 0.5), sampled=sampled)
    images, generator = torch.rand(64, 1, 32, 32), torch.Generator()
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        objective(network, images, None, generator).mean().backward()
    taken = time.perf_counter() - begin
    most = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    parameters = sum(weight.numel() for weight in network.parameters())
    said = {"T": steps, "sampled": sampled, "parameters": parameters, "mib": round(most), "seconds": taken}
    print(json.dumps(said))


def measure_all(chosen: argparse.Namespace, table: Table, part: tuple[int, int]) -> None:
    """Every data set that is asked for, or whose networks are there."""
    every = [
        name for name in pixel_tables.SETS if chosen.only == "rivals" or not missing(name, chosen.suffix, chosen.folder)
    ]
    for name in chosen.data or every:
        if chosen.only != "rivals":
            measure(
                name,
                chosen.suffix,
                table,
                chosen.count,
                chosen.seeds,
                chosen.folder,
                device=chosen.device,
                only=chosen.only or "networks",
                part=part,
            )
        if chosen.only in (None, "rivals"):
            rival_rows(name, table, chosen.count, chosen.seeds, chosen.device)


def main(given: list[str]) -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", metavar="DATA")
    parser.add_argument("--suffix", default="", help="of the networks' names: -100 or -200")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=checkpoints.FOLDER, metavar="DIR", help="of the networks")
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE", help="of the result")
    parser.add_argument("--join", type=Path, nargs="+", metavar="FILE", help="results of others, to take the rows of")
    parser.add_argument("--only", choices=("networks", "rivals", "images", "laws"), help="these alone")
    parser.add_argument("--part", type=int, nargs=2, default=(1, 1), metavar=("K", "N"), help="of the images, the K-th")
    parser.add_argument("--device", default="cpu", metavar="D", help="of the networks (default: cpu)")
    parser.add_argument("--memory", type=int, nargs="*", metavar="T")
    parser.add_argument("--one", type=int, nargs=2, metavar=("T", "SAMPLED"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(given)
    part = (chosen.part[0], chosen.part[1])
    if part != (1, 1) and not (chosen.only == "images" and 1 <= part[0] <= part[1]):
        parser.error("--part K N needs --only images, and K from 1 to N.")
    if chosen.device != "cpu":
        if chosen.only not in ("images", "rivals", "laws"):
            parser.error("--device needs --only images, rivals or laws: all else is measured where times are.")
        torch.backends.cudnn.allow_tf32 = False  # as precise as on a CPU
    if chosen.one:
        memory(*chosen.one)
        return 0
    table = Table(chosen.out)
    if chosen.join:
        for path in chosen.join:
            joined(table, path)
        return 0
    if chosen.memory is not None:
        table.clear(kind="memory")
        for steps in chosen.memory or (50, 100, 200):
            for sampled in (0, 50) if steps > 50 else (0,):
                command = [sys.executable, __file__, "--one", str(steps), str(sampled)]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                table.add({"kind": "memory", "batch": 64, **json.loads(said)})
        return 0
    with torch.no_grad():
        measure_all(chosen, table, part)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
