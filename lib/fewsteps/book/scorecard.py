"""The scorecard: every claim of the papers that the book puts to a test, its verdict and what would overturn it.

`data/claims.yaml` is written by hand, in two steps: claim, metric, budget and baseline before the run that judges it,
verdict and evidence after. The page is made from it, and a verdict without evidence does not build.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fewsteps.book.coverage import PAPERS, plain
from fewsteps.errors import UserError

VERDICTS = {
    "holds": "●",
    "in part": "◐",
    "does not hold here": "○",
    "not testable here": "–",
}
OPEN = "being measured"
HEADINGS = PAPERS | {"BEST": "Our own"}
"""Prefix of a claim's ID -> heading of its part of the page."""

_NEEDED = ("id", "claim", "where", "metric", "budget", "baseline", "overturned_by", "chapter")
_AFTER = ("verdict", "evidence", "proxy", "note")
_ID = re.compile(rf"(?:{'|'.join(HEADINGS)})-[A-Za-z0-9-]+")
_MEASURED = re.compile(r"\d+\.\d|\d\s*%")


@dataclass(frozen=True)
class Claim:
    """One line of the scorecard.

    Attributes
    ----------
    id : str
        Of the row of the papers, with a letter where a row makes several claims: TDAS-11b.
    claim, where, metric, budget, baseline, overturned_by : str
        Written before the run.
    chapter : str
        Two digits.
    verdict : str or None
        One of `VERDICTS`, or None while it is being measured.
    evidence : str or None
        What was found, in words; the chapter has the numbers.
    proxy : str or None
        Where it is not testable here: why, and what was tested in its place.
    note : str or None
    """

    id: str
    claim: str
    where: str
    metric: str
    budget: str
    baseline: str
    overturned_by: str
    chapter: str
    verdict: str | None = None
    evidence: str | None = None
    proxy: str | None = None
    note: str | None = None

    @property
    def paper(self) -> str:
        """Prefix of the ID: a key of :data:`HEADINGS`."""
        return self.id.split("-", 1)[0]

    @property
    def said(self) -> str:
        """The verdict with its mark."""
        return f"{VERDICTS[self.verdict]} {self.verdict}" if self.verdict else f"… {OPEN}"


def load(root: Path | str) -> tuple[Claim, ...]:
    """Read and check `data/claims.yaml`.

    Raises
    ------
    UserError
        If it cannot be read, or an entry lacks a key, has one too many, or an ID that occurs twice; if a verdict is
        unknown or without evidence, evidence without a verdict, "not testable here" without its proxy; or if evidence
        holds a measured number, which belongs to a cell that computes it.
    """
    path = Path(root) / "data" / "claims.yaml"
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"data/claims.yaml cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise UserError("data/claims.yaml is not valid YAML.") from error
    if not isinstance(entries, list) or not entries:
        raise UserError("data/claims.yaml must be a list with one entry per claim, each beginning with '- id:'.")
    claims = tuple(_claim(entry, number) for number, entry in enumerate(entries, start=1))
    ids = [claim.id for claim in claims]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice:
        raise UserError(f"data/claims.yaml lists {twice} twice; give one of them a letter, as in TDAS-11b.")
    return claims


def _claim(entry: Any, number: int) -> Claim:
    if not isinstance(entry, dict) or not _ID.fullmatch(str(entry.get("id", ""))):
        raise UserError(f"entry {number} of data/claims.yaml has no 'id' such as TDAS-11b or BEST-1.")
    where = f"{entry['id']} in data/claims.yaml"
    for key in entry:
        if key not in _NEEDED + _AFTER:
            raise UserError(f"{where} has the unknown key {key!r}; keys are {', '.join(_NEEDED + _AFTER)}.")
    for key in _NEEDED:
        if key not in entry:
            raise UserError(f"{where} has no {key!r}: a claim is complete before it is judged.")
    for key, value in entry.items():
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{key!r} of {where} must be text, not {value!r}.")
    claim = Claim(**{key: " ".join(value.split()) for key, value in entry.items()})
    if claim.verdict is None:
        if claim.evidence or claim.proxy:
            raise UserError(f"{where} has evidence and no verdict; give it one of {', '.join(VERDICTS)}.")
        return claim
    if claim.verdict not in VERDICTS:
        raise UserError(f"{where} has the verdict {claim.verdict!r}; it must be one of {', '.join(VERDICTS)}.")
    if not claim.evidence:
        raise UserError(f"{where} has a verdict without evidence; say what was found.")
    if claim.verdict == "not testable here" and not claim.proxy:
        raise UserError(f"{where} is not testable here and has no 'proxy'; say why, and what was tested in its place.")
    if _MEASURED.search(claim.evidence):
        raise UserError(f"the evidence of {where} holds a number; leave numbers to the cells that compute them.")
    return claim


def page(root: Path | str) -> str:
    """The scorecard of the book, as MyST markdown.

    Parameters
    ----------
    root : Path or str
        Root of the repository.

    Raises
    ------
    UserError
        As :func:`load`, and if a chapter is named that is no notebook.
    """
    claims = load(root)
    chapters = {path.stem[:2]: path.stem for path in sorted((Path(root) / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    parts = [
        "# Scorecard",
        "**What did the papers claim, and what is left of each claim when it is computed?** Every line was written "
        "down with its metric, its budget, its baseline and what would overturn it before the run that judges it; "
        "where not, a note says so. Verdict and evidence came after; a note says what was added later. A verdict is "
        'about the conditions it names: "here" are small networks, images of 8 to 64 pixels, '
        "and exact Gaussians of any size.",
        _counts(claims),
    ]
    for prefix, heading in HEADINGS.items():
        mine = [claim for claim in claims if claim.paper == prefix]
        if mine:
            parts += [f"## {heading}", _summary(mine), *(_section(claim, chapters) for claim in mine)]
    parts += ["The [errata](errata.md) hold what can be said about single formulas."]
    return "\n\n".join(parts) + "\n"


def _counts(claims: Iterable[Claim]) -> str:
    claims = list(claims)
    columns = [*VERDICTS, None]
    head = [*(f"{mark} {verdict}" for verdict, mark in VERDICTS.items()), f"… {OPEN}"]
    lines = [f"| claims of | {' | '.join(head)} | all |", "| --- |" + " ---: |" * (len(head) + 1)]
    for prefix in (*HEADINGS, None):
        mine = [claim for claim in claims if prefix in (None, claim.paper)]
        if mine:
            counts = [sum(claim.verdict == verdict for claim in mine) for verdict in columns]
            name = HEADINGS[prefix] if prefix else "**all**"
            lines.append(f"| {name} | {' | '.join(map(str, counts))} | {len(mine)} |")
    return "\n".join(lines)


def _summary(claims: Iterable[Claim]) -> str:
    lines = ["| | verdict | claim |", "| --- | --- | --- |"]
    lines += [f"| [{c.id}](#claim-{c.id.lower()}) | {c.said} | {plain(c.claim)} |" for c in claims]
    return "\n".join(lines)


def _section(claim: Claim, chapters: dict[str, str]) -> str:
    if claim.chapter not in chapters:
        where = f"chapter {claim.chapter}, which is not there yet"
        if claim.verdict:
            raise UserError(
                f"{claim.id} in data/claims.yaml has a verdict, and its chapter {claim.chapter} is no notebook."
            )
    else:
        where = f"{{doc}}`/notebooks/{chapters[claim.chapter]}`"
    rows = {
        "Claim": plain(claim.claim),
        "Where": plain(claim.where),
        "Judged by": plain(claim.metric),
        "Budget": plain(claim.budget),
        "Against": plain(claim.baseline),
        "Found": f"{plain(claim.evidence)} {where}" if claim.evidence else f"Not yet; it belongs to {where}.",
        "Not testable because": plain(claim.proxy) if claim.proxy else "",
        "Would be overturned by": plain(claim.overturned_by),
        "Note": plain(claim.note) if claim.note else "",
    }
    listed = "\n".join(f"- **{key}:** {value}" for key, value in rows.items() if value)
    return f"(claim-{claim.id.lower()})=\n### {claim.id}: {claim.said}\n\n{listed}"
