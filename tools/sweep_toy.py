"""Train SD's toy over its controls into ``data/results/frequency_bias.json``; a run that is there is not run again.

python tools/sweep_toy.py
"""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

from fewsteps.experiments.frequency_bias import Setting, row, sample, train

RESULT = Path(__file__).resolve().parents[1] / "data" / "results" / "frequency_bias.json"


def settings() -> list[Setting]:
    """The grid of the page, and the paper's two widths on signals that are longer than the small one is wide."""
    grid = itertools.product((16, 64, 256, 1024), (3, 5), ("eps", "x0"), ("fixed", "random"))
    main = [Setting(width=w, majority=m, prediction=p, phase=f) for w, m, p, f in grid]
    spread = [replace(Setting(width=w, length=n), majority=m) for n in (64, 128) for w in (64, 1024) for m in (3, 5)]
    # Added after the rows above had been seen, for those that lose the rare frequency: is it unfinished training?
    base = Setting(iterations=16000)
    trained = [
        base,
        replace(base, prediction="x0"),
        replace(base, width=1024, prediction="x0"),
        replace(base, width=1024, phase="random"),
    ]
    return [*main, *spread, *trained]


def main() -> None:
    """Run what is missing, one setting after the other, and write the table after each."""
    rows = json.loads(RESULT.read_text())["rows"] if RESULT.is_file() else []
    for setting in settings():
        mine = json.loads(json.dumps(asdict(setting)))
        if any(all(known[key] == value for key, value in mine.items()) for known in rows):
            continue
        begin = time.perf_counter()
        model = train(setting)
        for clip in (False, True):
            rows.append(row(setting, sample(model, setting, clip=clip), clip=clip))
            print(
                f"{setting.width:5} {setting.length:4} {setting.majority} {setting.prediction:3} {setting.phase:6} "
                f"clip {clip!s:5} {rows[-1]['majority_recovered']} {rows[-1]['minority_recovered']} "
                f"{time.perf_counter() - begin:.0f} s",
                flush=True,
            )
        lines = ",\n".join("  " + json.dumps(entry) for entry in rows)
        part = RESULT.with_suffix(".part")
        part.write_text(f'{{\n "made_by": "python tools/sweep_toy.py",\n "rows": [\n{lines}\n ]\n}}\n')
        part.replace(RESULT)


if __name__ == "__main__":
    main()
