"""Measure what is left of an image's class under noise, into ``data/results/class_under_noise.json``.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_meaning.py [DATA ...]

By three readers (``fewsteps.experiments.meaning``), on test images, at signal-to-noise ratios from 100 to 1e-4 and at
those of the schedules of chapter 10; draws of x0, which take many network calls, at those of two steps alone. Data sets
that are not named keep their rows. The result holds no image.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

import torch

from fewsteps import checkpoints, data, results, trained
from fewsteps.experiments import meaning

RESULT = results.FOLDER / "class_under_noise.json"
NETWORKS = {"fashion_mnist": "fashion", "mnist": "mnist", "cifar10": "cifar10"}
IMAGES, SEEDS, POINTS, CALLS = 300, (0, 1), 7, 8


def rounded(entry: meaning.Left) -> dict[str, float]:
    """Digits that mean something."""
    return {key: float(f"{value:.6g}") if key == "snr" else round(value, 4) for key, value in asdict(entry).items()}


def measure(name: str) -> list[dict[str, Any]]:
    """One row per reader."""
    model, classifier = trained.load(NETWORKS[name]), trained.load(f"{NETWORKS[name]}-classifier").network
    size = model.shape[-1]
    known, test = data.load(name, "train", size), data.load(name, "test", size)
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:IMAGES]
    assert known.labels is not None and test.labels is not None
    images, labels = test.images[order], test.labels[order]
    every = meaning.grid(POINTS)
    two = [process for process in meaning.processes().values() if process.steps == 2]
    last = sorted({float(f"{snr:.6g}") for process in two for snr in meaning.ratios(process)}, reverse=True)
    clean = meaning.seen(classifier, images, labels)
    readers = {
        "mean": (meaning.by_mean(model, classifier), every, SEEDS),
        "images": (meaning.by_images(known.images, known.labels), every, SEEDS),
        "draw": (meaning.by_draw(model, classifier, CALLS), last, SEEDS[:1]),
    }
    rows = []
    for who, (reader, at, seeds) in readers.items():
        begin = time.perf_counter()
        found = meaning.curve(reader, images, labels, at, seeds, clean)
        rows.append(
            {
                "data": name,
                "who": who,
                "images": len(images),
                "seeds": len(seeds),
                "clean": round(float(clean.mean()), 4),
                "network": None if who == "images" else checkpoints.card(NETWORKS[name])["weights"]["sha256"],
                "left": [rounded(entry) for entry in found],
            }
        )
        print(f"{name}, {who}: {time.perf_counter() - begin:.0f} s", flush=True)
        for entry in found:
            print(f"  SNR {entry.snr:.3g}: {entry.value:.3f} ({entry.low:.3f} to {entry.high:.3f})", flush=True)
    return rows


def main(names: list[str]) -> int:
    """Measure."""
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        print(f"DATA must be of {', '.join(NETWORKS)}, not {unknown[0]!r}.", file=sys.stderr)
        return 2
    torch.set_grad_enabled(False)
    for name in names or NETWORKS:
        rows = [row for row in meaning.measured() if row["data"] != name] + measure(name)
        rows.sort(key=lambda row: list(NETWORKS).index(row["data"]))
        results.write(RESULT, "python tools/measure_meaning.py", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
