"""The scorecard: what may stand on it, and what its page says."""

import copy
from pathlib import Path

import pytest
import yaml

from fewsteps.book import scorecard
from fewsteps.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CLAIM = {
    "id": "TDAS-11", "claim": "It helps | a lot", "where": "Table 3", "metric": "FD", "budget": "20 calls",
    "baseline": "none", "overturned_by": "it does not", "chapter": "05", "verdict": "in part",
    "evidence": "At few steps.",
}  # fmt: skip


@pytest.fixture
def project(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "05_tdas.ipynb").write_text("{}")

    def write(*entries):
        (tmp_path / "data" / "claims.yaml").write_text(yaml.safe_dump(list(entries)))
        return tmp_path

    return write


def test_a_line_says_verdict_evidence_and_what_would_overturn_it(project):
    open_one = {key: value for key, value in CLAIM.items() if key not in ("verdict", "evidence")} | {"id": "BEST-2"}
    page = scorecard.page(project(CLAIM, open_one))
    assert "### TDAS-11: ◐ in part" in page and "(claim-tdas-11)=" in page
    assert "- **Found:** At few steps. {doc}`/notebooks/05_tdas`" in page
    assert "- **Would be overturned by:** it does not" in page
    assert r"It helps \| a lot" in page
    assert "### BEST-2: … being measured" in page
    assert "| **all** | 0 | 1 | 0 | 0 | 1 | 2 |" in page


def changed(**named):
    made = copy.deepcopy(CLAIM)
    for key, value in named.items():
        made.pop(key, None) if value is None else made.update({key: value})
    return made


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([changed(evidence=None)], "TDAS-11 in data/claims.yaml has a verdict without evidence"),
        ([changed(verdict=None)], "has evidence and no verdict; give it one of holds, in part"),
        ([changed(verdict="true")], "has the verdict 'true'; it must be one of holds, in part, does not hold here"),
        ([changed(verdict="not testable here")], "is not testable here and has no 'proxy'"),
        ([changed(evidence="FD falls to 3.1.")], "evidence of TDAS-11 in data/claims.yaml holds a number"),
        ([changed(evidence="It wins by 20 %.")], "holds a number; leave numbers to the cells"),
        ([changed(budget=None)], "has no 'budget': a claim is complete before it is judged"),
        ([changed(result="x")], "has the unknown key 'result'"),
        ([changed(metric=3)], "'metric' of TDAS-11 in data/claims.yaml must be text, not 3"),
        ([changed(id="XX-1")], "entry 1 of data/claims.yaml has no 'id' such as TDAS-11b or BEST-1"),
        ([changed(chapter="09")], "TDAS-11 in data/claims.yaml has a verdict, and its chapter 09 is no notebook"),
        ([CLAIM, CLAIM], "lists TDAS-11 twice; give one of them a letter"),
        ([], "must be a list with one entry per claim"),
    ],
)
def test_refusals(project, entries, sentence):
    with pytest.raises(UserError, match=sentence):
        scorecard.page(project(*entries))


def test_a_file_that_is_not_there_or_broken(tmp_path):
    with pytest.raises(UserError, match=r"data/claims\.yaml cannot be read"):
        scorecard.load(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "claims.yaml").write_text("- id: [")
    with pytest.raises(UserError, match="is not valid YAML"):
        scorecard.load(tmp_path)


def test_the_projects_own():
    """Every paper is there, every claim of a chapter that stands is complete, and the page can be made."""
    claims = scorecard.load(ROOT)
    page = scorecard.page(ROOT)
    assert {claim.paper for claim in claims} >= {"TDAS", "PDS", "SD"}
    for claim in claims:
        assert page.count(f"### {claim.id}: {claim.said}") == 1
