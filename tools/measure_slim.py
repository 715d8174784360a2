"""Measure slim networks beside their teacher into ``data/results/slim-networks-TEACHER.json``.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_slim.py TEACHER [--folder DIR --out FILE]

Cost, speed, band errors, gates against time and the difference from the teacher by frequency. What was measured of the
same weights is kept, but the speeds: those are of one run, on one machine. Fréchet distances are in the tables of
``fewsteps sweep slim-TEACHER`` and ``guidance-TEACHER``. The result holds no image.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from fewsteps import checkpoints, data, results, trained
from fewsteps.errors import ParameterError
from fewsteps.experiments import choosing, gates, slim
from fewsteps.experiments.grids import DDIM_STEPS, FEW, SEEDS
from fewsteps.experiments.sampling import Plan, draw, sample
from fewsteps.experiments.slim import LITE, SLIM, TEACHER
from fewsteps.trained import Trained
from fewsteps.training.teacher import latents

IMAGES = 300  # SD's footnote 2
WATCHED = 100  # images whose gates are looked at
LEVELS = (0.1, 0.4, 1.6)  # noise over the spread of the pixels


def plan_of(card: dict[str, Any], count: int, seed: int) -> Plan:
    """DDIM as the tables run it."""
    asked = gates.asked(card)
    return replace(asked, sampler="ddim", nfe=DDIM_STEPS, count=count, seed=seed, half=True)


def of_network(
    called: str,
    model: Trained,
    teacher: Trained,
    real: torch.Tensor,
    seen: torch.Tensor,
    folder: Path,
    known: dict[str, Any],
) -> dict[str, Any]:
    """All but the speed, what is known being kept; `seen` are the real images as the networks are shown them."""
    said = known | {
        "called": called,
        "checkpoint": model.card["name"],
        "weights": model.card["weights"]["sha256"],
        "teacher": teacher.card["weights"]["sha256"],
        "trained_images": checkpoints.images_seen(model.card),
        **asdict(slim.cost(model)),
    }
    if "bands" not in said:
        seeds = SEEDS if folder == checkpoints.FOLDER and called in (TEACHER, LITE, SLIM) else SEEDS[:1]
        said["bands"] = [slim.bands(sample(plan_of(model.card, IMAGES, seed), folder).images, real) for seed in seeds]
        print(f"{called}: {said['macs'] / 1e6:.1f} million multiply-adds, band errors {said['bands']}", flush=True)
    if model is not teacher and "differences" not in said:
        said["differences"] = []
        for level in LEVELS:
            frequency, ratio = slim.difference(teacher, model, seen, level)
            said["differences"].append(
                {"level": level, "frequency": results.rounded(frequency), "ratio": results.rounded(ratio)}
            )
    try:
        slim.layers(model.network)
    except ParameterError:
        return said
    if "gates" not in said:
        _, watched = slim.watched(model, plan_of(model.card, WATCHED, SEEDS[0]))
        said["gates"] = [
            {"layer": layer.layer}
            | {key: results.rounded(getattr(layer, key)) for key in ("times", "mean", "spread", "by_time")}
            for layer in watched
        ]
    if len(said.get("held", {}).get("free", [])) < len(SEEDS):
        said["held"] = held(model, **said.get("held", {"free": [], "held": []}))
        print(f"{called}: gates {said['held']}", flush=True)
    return said


def held(model: Trained, free: list[float], held: list[float], count: int = FEW) -> dict[str, Any]:
    """Distances with the gates as they are and with each at its mean, of the same noise; of the seeds that lack."""
    judged = [plan_of(model.card, count, seed) for seed in SEEDS[len(free) :]]
    source = model.card["data"]

    def distances() -> list[float]:
        return [choosing.distance(draw(model, plan, batch=count).images, source) for plan in judged]

    free = [*free, *distances()]
    with slim.held(model, plan_of(model.card, WATCHED, choosing.CHOICE_SEED)):
        return {"count": count, "free": free, "held": [*held, *distances()]}


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher")
    parser.add_argument("--folder", type=Path, default=checkpoints.FOLDER, help="of the slim networks")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    chosen.out = chosen.out or results.FOLDER / f"slim-networks-{chosen.teacher}.json"
    torch.set_grad_enabled(False)
    made = slim.load(chosen.teacher, chosen.folder)
    teacher = made.get(TEACHER) or trained.load(chosen.teacher)
    source = teacher.card["data"]
    held = data.load(source["name"], "test", source["size"])
    apart = slim.bands(held.images[IMAGES : 2 * IMAGES], held.images[:IMAGES])
    held = replace(held, images=held.images[:IMAGES], labels=None)
    real, latent = held.images, source.get("latent")
    seen = latents(held, latent["name"]).images if latent else real
    against = teacher.card["weights"]["sha256"]
    known = {}
    if chosen.out.exists():
        rows = json.loads(chosen.out.read_text(encoding="utf-8"))["rows"]
        known = {(row["checkpoint"], row["weights"], row["teacher"]): row for row in rows}
    now = {called: (model.card["name"], model.card["weights"]["sha256"], against) for called, model in made.items()}
    measured = {called: known[key] for called, key in now.items() if key in known}
    for called, model in made.items():
        before = measured.get(called, {})
        measured[called] = of_network(called, model, teacher, real, seen, chosen.folder, before)
        if measured[called] != before:
            save(chosen, apart, list(measured.values()))
    rows = list(measured.values())
    for called, (rate, spread) in slim.throughput(made).items():
        row = next(row for row in rows if row["called"] == called)
        row["speed"] = {"device": "cpu", "threads": torch.get_num_threads(), "images_per_s": rate, "half": spread}
        print(f"{called}: {rate:.0f} images/s", flush=True)
    save(chosen, apart, rows)
    return 0


def save(chosen: argparse.Namespace, apart: tuple[float, float], rows: list[dict[str, Any]]) -> None:
    """Whole, or what stood there; with the band errors of real images that are as many and others."""
    other = "" if chosen.folder == checkpoints.FOLDER else " --folder DIR"
    results.write(chosen.out, f"python tools/measure_slim.py {chosen.teacher}{other}", rows, real=apart)


if __name__ == "__main__":
    sys.exit(main())
