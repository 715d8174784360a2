"""Measure what trained networks do to every frequency into ``data/results/network_response.json``.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_response.py [NETWORK ...]

Networks that are not named keep the rows that they have. The result holds no image.
"""

from __future__ import annotations

import json
import sys

import torch

from fewsteps import checkpoints, data, results, samplers, trained
from fewsteps.experiments import pixels
from fewsteps.experiments.response import response
from fewsteps.files import write_atomic
from fewsteps.schedules import VE, VPLinear

RESULT = results.FOLDER / "network_response.json"
IMAGES = 500
LEVELS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)  # noise over the spread of the data's pixels


def measure(name: str) -> list[dict]:
    """One row per noise level."""
    model = trained.load(name)
    source = model.card["data"]
    split = "test" if source["name"] in ("mnist", "fashion_mnist", "cifar10", "lfw", "digits") else "train"
    images = data.load(source["name"], split, source["size"]).images[:IMAGES]
    rows = []
    schedule = VPLinear() if model.predicts == "eps" else VE(1e-3, 100)
    low, high = trained.span(schedule)
    known = pixels.read(source["name"], source["size"])
    std = (high - low) * float((known.square.mean() - known.mean.mean() ** 2).sqrt())
    clean = trained.from_images(images, schedule)
    for level in LEVELS:
        t = float(schedule.time(torch.tensor(level * std, dtype=torch.float64)))
        found = response(model.denoiser(schedule), clean, t, noise=samplers.white_noise(0))
        row = {
            "network": name,
            "steps": model.card["training"]["steps"],
            "level": level,
            "unit": "std of the pixels",
            "images": len(images),
        }
        for key in ("frequency", "gain", "wiener", "error", "wiener_error"):
            row[key] = [float(f"{float(value):.4g}") for value in getattr(found, key)]
        rows.append(row | {"total_error": round(found.total, 6), "total_wiener_error": round(found.wiener_total, 6)})
        print(
            f"{name} {level}: {found.total:.4f} of the power is wrong, {found.wiener_total:.4f} with the filter",
            flush=True,
        )
    return rows


def main(names: list[str]) -> int:
    """Measure."""
    torch.set_grad_enabled(False)
    cards = {name: checkpoints.card(name) for name in checkpoints.names()}
    pixels = {name: card for name, card in cards.items() if "latent" not in card["data"] and "beside" not in card}
    known = [name for name, card in pixels.items() if card["predicts"]["kind"] in ("edm", "eps")]
    rows = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    for name in names or known:
        made = measure(name)
        rows = [row for row in rows if row["network"] != name] + made
    order = {name: k for k, name in enumerate(("mnist", "fashion", "cifar10", "faces"))}
    rows.sort(key=lambda row: (order.get(row["network"], 99), row["network"], row["level"]))
    table = {"made_by": "python tools/measure_response.py", "images": IMAGES, "rows": rows}
    write_atomic(RESULT, json.dumps(table, separators=(",", ":")) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
