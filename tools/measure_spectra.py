"""Measure the power spectra of whole data sets into ``data/results/spectra.json``.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_spectra.py

Without FEWSTEPS_DATA the sets are downloaded, and Kodak is left as it was measured before. The result holds numbers
that this project made, and no image.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from fewsteps import data, spectra

RESULT = Path(__file__).resolve().parents[1] / "data" / "results" / "spectra.json"
# (set, split, size, images at most); the order of every set is fixed, so the first n are always the same.
SETS = (
    ("kodak", "all", 500, 24),
    ("kodak", "all", 256, 24),
    ("photos", "all", 256, 8),
    ("lfw", "train", 64, 2560),
    ("cifar10", "train", 32, 10000),
    ("fashion_mnist", "train", 32, 10000),
    ("mnist", "train", 32, 10000),
)


def measure(name: str, split: str, size: int, most: int) -> dict:
    """Mean radial spectrum of a set and the exponents of its single images, pixel values from -1 to 1."""
    loaded = data.load(name, split, size)
    images = 2 * loaded.images[:most].double() - 1
    power = spectra.power_spectrum(images, window="hann", centred=True)
    mean = spectra.radial_mean(power)
    law = spectra.fit_power_law(mean)
    single = [_exponent(image) for image in images[:500] if float(image.std()) > 0]
    exponents = torch.tensor(single, dtype=torch.float64)
    return {
        "set": name,
        "split": split,
        "size": size,
        "images": len(images),
        "sha256": loaded.sha256,
        "exponent_of_mean": round(law.exponent, 4),
        "amplitude_of_mean": float(f"{law.amplitude:.4g}"),
        "r_squared": round(law.r_squared, 4),
        "single_images": len(single),
        "exponents": {q: round(float(exponents.quantile(v)), 4) for q, v in QUANTILES.items()},
        "frequency": [round(float(f), 5) for f in mean.frequency],
        "power": [float(f"{float(p):.4g}") for p in mean.power],
    }


QUANTILES = {"p05": 0.05, "median": 0.5, "p95": 0.95}


def _exponent(image: torch.Tensor) -> float:
    power = spectra.power_spectrum(image, window="hann", centred=True)
    return spectra.fit_power_law(spectra.radial_mean(power)).exponent


def main() -> None:
    """Measure every set that is to be had and write the table in one piece."""
    known = json.loads(RESULT.read_text())["rows"] if RESULT.is_file() else []
    rows = []
    for name, split, size, most in SETS:
        if name == "kodak" and not os.environ.get("FEWSTEPS_DATA"):
            rows += [row for row in known if (row["set"], row["size"]) == (name, size)]
            continue
        rows.append(measure(name, split, size, most))
        print(
            f"{name:14} {size:4} px  {rows[-1]['images']:6} images  exponent {rows[-1]['exponent_of_mean']}", flush=True
        )
    content = {"made_by": "python tools/measure_spectra.py", "window": "hann", "fit": [0.02, 0.4], "rows": rows}
    part = RESULT.with_suffix(".part")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(RESULT)


if __name__ == "__main__":
    main()
