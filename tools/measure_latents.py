"""Measure what an autoencoder loses into ``data/results/latents-DATA.json``.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_latents.py faces-autoencoder

Test images go through it and back: the error frequency by frequency, what its latents look like, and the Fréchet
distance of what came back, which is as near as networks in its latents can be expected to come. What its gate asks for
goes on its card. The result holds no image.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from fewsteps import checkpoints, data, results, trained
from fewsteps.experiments import evaluation, latents, slim
from fewsteps.experiments.sampling import Drawn, Plan

BANDS = 300  # as many as of slim networks' images


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("autoencoder")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_grad_enabled(False)
    model = trained.load(chosen.autoencoder)
    source, shape = model.card["data"], model.card["network"]
    held = data.load(source["name"], "test", source["size"]).images
    found = latents.lost(model, held)
    distance, *_ = evaluation.evaluate(Plan(model.name, count=len(held)), [Drawn(found.images, None, 1)], [0])["rows"]
    kept = ("metric", "value", "low", "high", "count", "floor", "floor_count")
    row: dict[str, Any] = {
        "checkpoint": model.name,
        "weights": model.card["weights"]["sha256"],
        "images": len(held),
        "share_of_numbers": shape["latent"] / (shape["channels"] * shape["factor"] ** 2),
        "psnr": results.rounded(found.psnr),
        "mean": results.rounded(found.mean),
        "std": results.rounded(found.std),
        "frequency": results.rounded(found.frequency),
        "ratio": results.rounded(found.ratio),
        "bands": results.rounded(slim.bands(found.images[:BANDS], held[:BANDS])),
        "distance": {key: distance[key] for key in kept},
    }
    checkpoints.record(model.name, checkpoints.FOLDER, {"coded": {"psnr": row["psnr"]}})
    out = chosen.out or results.FOLDER / f"latents-{chosen.autoencoder.removesuffix('-autoencoder')}.json"
    results.write(out, f"python tools/measure_latents.py {chosen.autoencoder}", [row])
    print(f"{row['psnr']:.1f} dB, {distance['metric']} {distance['value']:.3g} of {row['images']} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
