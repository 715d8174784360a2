"""Tables as the chapters read them."""

import json
import math

import numpy as np
import pytest

from fewsteps import errors, results
from fewsteps.experiments import boards, grids, tdas


def row(method, nfe, seed, value, half=0.3):
    measured = {"metric": "FD-x", "value": value, "low": max(0.0, value - half), "high": value + half, "floor": 0.1}
    return {
        "key": f"{method}{nfe}{seed}",
        "method": method,
        "plan": {"sampler": "x", "nfe": nfe, "seed": seed, "filt": None},
        "nfe": nfe - nfe % 2,
        "count": 1000,
        "rows": [measured, {**measured, "metric": "precision", "value": 0.5, "low": 0.4, "high": 0.6}],
    }


@pytest.fixture
def table(tmp_path, monkeypatch):
    def write(rows):
        (tmp_path / "t.json").write_text(json.dumps({"made_by": "here", "rows": rows}))
        monkeypatch.setattr(results, "FOLDER", tmp_path)
        return "t"

    return write


def test_means_and_intervals_over_seeds(table):
    """TDAS-11: three independent seeds narrow the interval by the root of three; a choice is no row."""
    name = table(
        [row("b", 20, seed, value) for seed, value in enumerate((1.0, 1.2, 1.4))] + [row("choice", 20, 9, 7.0)]
    )
    [entry] = boards.read(name)
    assert (entry.method, entry.nfe, entry.seeds, entry.count) == ("b", 20, 3, 1000)
    assert entry.value == pytest.approx(1.2) and entry.half == pytest.approx(0.3 / 3**0.5)


def test_the_interval_holds_the_truth_as_often_as_it_says(table):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        [entry] = boards.read(table([row("b", 20, seed, 5 + rng.normal() * 0.3 / 1.96) for seed in range(3)]))
        held += entry.low <= 5 <= entry.high
    assert 0.91 < held / 300 < 0.985


def test_a_cut_interval_is_not_taken_for_a_narrow_one(table):
    [entry] = boards.read(table([row("b", 20, 0, 0.05)]))
    assert entry.half == pytest.approx(0.3)


def test_what_a_search_found_is_said_with_the_method_that_it_was_for(table):
    """And a search whose filter no row was judged with yet is not."""
    filt = {"kind": "tdas", "lam": 0.2, "r": 0.05}
    judged = row("pc, best", 20, 0, 1.0)
    judged["plan"] |= {"sampler": "pc", "filt": filt}
    points = [[2.0, {**filt, "r": 0.1}], [None, {**filt, "lam": 0.4}], [1.0, filt]]
    search = {
        "method": "choice",
        "plan": {"sampler": "pc", "nfe": 20, "filt": None},
        "rule": {"rule": "best", "among": "tdas"},
        "filt": filt,
        "why": {"tried": points, "ends": ["r = 0.05 is the smallest that was tried"]},
    }
    other = search | {"plan": search["plan"] | {"nfe": 50}}
    [said] = boards.chosen(table([judged, search, other]))
    assert said == "pc, best, 20 calls: lam = 0.2, r = 0.05 (r = 0.05 is the smallest that was tried)."


def test_several_metrics_beside_each_other(table):
    """BEST-5: at one budget; a metric that was not measured has no column."""
    name = table([row("b", 20, 0, 1.0), row("a", 20, 0, 2.0), row("a", 10, 0, 9.0), row("choice", 20, 9, 7.0)])
    asked = {"FD": "distance", "obeyed": "obeyed", "precision": "among the real"}
    columns, rows = boards.beside(name, 20, asked, ["a", "b"])
    assert columns == ["method", "distance", "among the real"]
    assert rows == [["a", "2 ± 0.3", "0.5 ± 0.1"], ["b", "1 ± 0.3", "0.5 ± 0.1"]]
    with pytest.raises(errors.DataError, match="obeyed"):
        boards.beside(name, 20, {"obeyed": "obeyed"})


def test_who_is_apart(table):
    """PDS-9: a verdict is drawn where the interval of the difference leaves out 0, and nowhere else."""
    rows = [row("a", nfe, s, v) for nfe, v in ((10, 1.0), (20, 1.0), (50, 3.0)) for s in range(3)]
    rows += [row("b", nfe, s, v) for nfe, v in ((10, 2.0), (20, 1.2), (50, 1.0), (100, 1.0)) for s in range(3)]
    found = boards.verdicts(table(rows), "a", ["b", "c"])
    assert [(nfe, sign) for nfe, _, _, sign in found] == [(10, -1), (20, 0), (50, 1)]
    assert found[0][2] == pytest.approx(0.5)
    one, other = (boards.Entry("x", 1, 1, v, v - 0.3, v + 0.3, 0.0, 3, 10) for v in (1.0, 1.5))
    assert boards.overlap(one, other) and boards.apart(one, other) == -1


def test_two_networks_in_one_table_are_refused(table):
    name = table([row("a", 10, 0, 1.0), row("a", 10, 0, 9.0) | {"key": "other"}])
    with pytest.raises(errors.DataError, match=r"rows of other weights or counts.*fewsteps sweep t drops them"):
        boards.read(name)


def test_printed(table):
    name = table([row("b", 10, 0, 2.0), row("a", 10, 0, 1.234), row("a", 20, 0, 0.5)])
    columns, rows = boards.lines(name, ["a", "b", "c"])
    assert columns == ["method", "10 calls", "20 calls"]
    assert rows == [["a", "1.23 ± 0.3", "0.5 ± 0.3"], ["b", "2 ± 0.3", ""]]
    assert boards.missing(name, ["a", "c"]) == ["c"]
    assert boards.read(name, "precision")[0].value == 0.5
    with pytest.raises(errors.DataError, match="holds no speed: there are FD-x, precision"):
        boards.read(name, "speed")


class TestDrift:
    def row(self, method="one", value=2.0, nfe=10, seed=0):
        measured = {"metric": "FD-x", "value": value, "low": value - 0.3, "high": value + 0.2}
        return {"method": method, "plan": {"nfe": nfe, "seed": seed, "sampler": f"{method}-er"}, "rows": [measured]}

    def written(self, path, *rows):
        path.write_text(json.dumps({"made_by": "x", "rows": [*rows, {"method": "choice"}]}))
        return path

    def test_what_moved_beyond_both_intervals_is_said(self, tmp_path, capsys):
        """TDAS-11: the root of the two squares, 0.42; and rows that only one table has."""
        before = self.written(tmp_path / "a.json", self.row(), self.row(seed=1), self.row("gone"))
        now = self.written(tmp_path / "b.json", self.row(value=2.4), self.row(seed=1, value=2.5), self.row("new"))
        assert boards.drift(before, before) == []
        assert boards.drift(before, now, "new") == ["new, 10 NFE, seed 0: only in b.json"]
        assert boards.drift(before, now, "gone-er") == ["gone, 10 NFE, seed 0: not in b.json"]
        assert boards.drift(before, now, "nfe=20") == []
        assert boards.drift(before, now) == [
            "new, 10 NFE, seed 0: only in b.json",
            "one, 10 NFE, seed 1: FD-x is 2.5 ± 0.3 and was 2 ± 0.3",
            "gone, 10 NFE, seed 0: not in b.json",
        ]
        broken = self.written(tmp_path / "c.json", self.row(value=math.nan))
        assert len(boards.drift(self.written(tmp_path / "d.json", self.row()), broken)) == 1

    def test_the_command_fails_with_the_difference(self, tmp_path, monkeypatch, capsys):
        from fewsteps.cli import main

        monkeypatch.setattr(results, "FOLDER", tmp_path)
        self.written(tmp_path / "a.json", self.row())
        assert main(["drift", "a", str(self.written(tmp_path / "b.json", self.row(value=9.0)))]) == 1
        assert "FD-x is 9 ± 0.3 and was 2 ± 0.3" in capsys.readouterr().out
        assert main(["drift", "a", str(tmp_path / "a.json")]) == 0
        assert "agrees with a within its intervals" in capsys.readouterr().out

    def test_refusals(self, tmp_path):
        whole = self.written(tmp_path / "a.json", self.row())
        with pytest.raises(errors.DataError, match=r"b\.json cannot be read"):
            boards.drift(whole, tmp_path / "b.json")
        (tmp_path / "b.json").write_text("[]")
        with pytest.raises(errors.DataError, match=r"b\.json is no table of fewsteps sweep"):
            boards.drift(whole, tmp_path / "b.json")


def test_a_comparison_in_words(table):
    """TDAS-11: ratios where two methods are apart, and nothing but that where they are not."""
    rows = [row("filter", 20, s, 1.0) for s in range(3)] + [row("none", 20, s, 300.0) for s in range(3)]
    name = table(rows + [row("other", 20, s, 1.1) for s in range(3)] + [row("none", 10, 0, 5.0)])
    assert boards.sentences(name, "none", {"filter": "the filter"}) == [
        "At 20 calls its distance is 300 times that of the filter."
    ]
    [said] = boards.sentences(name, "filter", {"none": "no filter", "other": "another"})
    assert said == "At 20 calls its distance is 0.0033 times that of no filter, not apart from that of another."


def test_a_grid_of_gains_and_radii_is_read_in_the_papers_order(table):
    """TDAS-11, Figs 10 and 11: rows are gains, columns radii, over no filter; a missing point is named."""
    points = [(i, j, lam, r) for i, lam in enumerate(grids.GAINS) for j, r in enumerate(grids.RADII)]
    rows = [row(grids.pair(lam, r), 20, s, 1.0 + i + 0.1 * j) for i, j, lam, r in points for s in range(2)]
    rows += [row(grids.NONE, 20, s, 2.0) for s in range(2)]
    found = tdas.measured_sensitivity(table(rows[::-1]))
    assert found.shape == (7, 7)
    assert float(found[0, 0]) == pytest.approx(0.5) and float(found[2, 5]) == pytest.approx(1.75)
    with pytest.raises(errors.DataError, match=r"has no row of λ 0.4, 0.3; r 0.3, 0.2"):
        tdas.measured_sensitivity(table([one for one in rows if not one["method"].endswith("λ 0.4, 0.3; r 0.3, 0.2")]))
