"""Measure what looking at single pixels is worth to a small network, into ``data/results/finish-cifar10.json``.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_finish.py [--steps 400 800 --folder DIR]

The Lite network of CIFAR-10 is trained with three convolutions at full resolution after its patches and without
(`finish` of :class:`fewsteps.networks.UNet`), beside each other, on the same images with the same noise. At each of the
given steps the error of both on test images is taken, noise level by noise level, beside that of the linear filter
that knows the spectrum. The result holds no image.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fewsteps import data, results, samplers, trained
from fewsteps.errors import TrainingError
from fewsteps.experiments.response import response
from fewsteps.experiments.slim import cost
from fewsteps.schedules import VE
from fewsteps.training import recipe
from fewsteps.training.family import together

LITE = "cifar10-fine-lite"
IMAGES = 500
STEPS = [400, 800]
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # noise over the spread of the data's pixels


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--folder", type=Path, help="of the two trainings, to go on there (default: one that vanishes)")
    chosen = parser.parse_args()
    ended = recipe(LITE)
    plain = replace(ended, name="cifar10-lite", network={k: v for k, v in ended.network.items() if k != "finish"})
    images = data.load(ended.data, "test", ended.size).images[:IMAGES]
    std, schedule = float(images.double().std()), VE(1e-3, 100)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as aside:
        folder = chosen.folder or Path(aside)
        for steps in sorted(chosen.steps):
            together([plain, ended], folder, steps=steps, say=lambda step, loss: print(step, loss, flush=True))
            for called, made in (("without", plain), ("with", ended)):
                model = trained.load(made.name, folder / made.name)
                if model.card["training"]["steps"] != steps:
                    raise TrainingError(f"the trainings in {folder} are beyond step {steps}: name another folder.")
                denoiser = model.denoiser(schedule)
                row = {"called": called, "steps": steps, "images": IMAGES, "macs": cost(model).macs, "levels": LEVELS}
                with torch.no_grad():
                    found = [response(denoiser, images, x * std, noise=samplers.white_noise(0)) for x in LEVELS]
                row["error"] = [results.rounded(one.total) for one in found]
                row["wiener"] = [results.rounded(one.wiener_total) for one in found]
                rows.append(row)
                print(row, flush=True)
    given = "" if chosen.steps == STEPS else f" --steps {' '.join(map(str, chosen.steps))}"
    results.write(results.FOLDER / "finish-cifar10.json", f"python tools/measure_finish.py{given}", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
