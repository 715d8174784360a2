"""``tools/measure_pixel.py`` on stand-ins: networks trained for a few steps on digits; stopped, and gone on with."""

from __future__ import annotations

import json

import pytest
import torch

from fewsteps import checkpoints
from fewsteps.errors import DataError
from fewsteps.experiments import pixel_aware
from fewsteps.experiments import pixel_measures as measures
from test_pixel_networks import T, shipped  # noqa: F401  the fixture that trains them
from tool_module import tool_module

KEY = ("kind", "checkpoint", "who", "i", "reading", "factor", "fresh", "size", "side", "form", "start", "seed", "label")


@pytest.fixture
def stand_ins(shipped, tmp_path):  # noqa: F811
    """The networks in a folder of the test's own: measuring writes on their cards."""
    for path in shipped.glob("digits-*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture
def tool(monkeypatch):
    """The tool with a part of its forms and rivals, one of each kind, and fewer images to score on."""
    found = tool_module("measure_pixel")
    kinds = ("scale", "printed", "combined x2", "single", "either x4, new")
    monkeypatch.setattr(pixel_aware, "FORMS", {name: pixel_aware.FORMS[name] for name in kinds})
    monkeypatch.setattr(found, "RIVALS", {name: found.RIVALS[name] for name in ("DDIM, 10", "DPM-Solver++, 10")})
    monkeypatch.setattr(found, "SCORED", 16)
    monkeypatch.setattr(found, "TRAJECTORIES", 32)
    monkeypatch.setattr(found, "TIMED", 4)
    return found


def run(tool, folder, *more):
    """The rows of the result, after one run."""
    out = folder / "result.json"
    arguments = ["digits", "--folder", str(folder), "--out", str(out), "--count", "12", "--seeds", "1", *more]
    assert tool.main(arguments) == 0
    assert torch.is_grad_enabled()
    return json.loads(out.read_text())["rows"]


def keys(rows):
    """What the rows are of."""
    return sorted(str([row.get(name) for name in KEY]) for row in rows)


def test_a_stopped_run_goes_on_where_it_was(tool, stand_ins, tmp_path_factory, monkeypatch):
    """PX-9: whatever was being written, the rows in the end are those of a run that nobody stopped, none twice."""
    whole = tmp_path_factory.mktemp("whole")
    for path in stand_ins.iterdir():
        (whole / path.name).write_bytes(path.read_bytes())
    expected = run(tool, whole)
    assert {row["kind"] for row in expected} == {
        "network",
        "scale",
        "noise",
        "weights",
        "either",
        "algorithm",
        "squares",
        "images",
        "time",
        "rival",
    }
    assert (
        len(set(keys(expected))) == len(expected) == 6 + 4 * len({1, 2, 3, 4, T}) + 2 + 1 + 1 + 96 + 3 + 5 * 3 + 1 + 2
    )
    assert all(checkpoints.card(f"digits-{end}", whole)["pixel"] for end in pixel_aware.ENDS)

    write, asked = tool.results.write_atomic, []
    made, measured = pixel_aware.sampled, measures.distance

    def interrupted(after):
        left = after

        def once(*given):
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return write(*given)

        return once

    monkeypatch.setattr(pixel_aware, "sampled", lambda *given: asked.append(given[0].label) or made(*given))
    monkeypatch.setattr(measures, "distance", lambda *given: asked.append("distance") or measured(*given))
    out, before = stand_ins / "result.json", []
    # In front of the scale's rows, between them and the noises', among the images', and before the last rival.
    for after in (6, 1, 9, 14):
        monkeypatch.setattr(tool.results, "write_atomic", interrupted(after))
        with pytest.raises(KeyboardInterrupt):
            run(tool, stand_ins)
        rows = json.loads(out.read_text())["rows"]
        assert rows[: len(before)] == before and len(rows) > len(before)
        before = rows
    monkeypatch.setattr(tool.results, "write_atomic", write)
    rows = run(tool, stand_ins)
    assert rows[: len(before)] == before and keys(rows) == keys(expected)
    for mine, theirs in zip(rows, expected, strict=True):
        assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}
    by = {row["side"]: row["value"] for row in rows if row["kind"] == "squares"}
    assert by[2] < by[8] and list(by) == [2, 4, 8]  # the less is left of them, the farther
    asked.clear()
    assert run(tool, stand_ins) == rows and not asked  # and once more measures nothing
    # Times of fewer ways than there are were of another run: all are measured anew.
    timed = next(row for row in rows if row["kind"] == "time")
    fewer = [row | ({"seconds": {"scale": 1.0}} if row is timed else {}) for row in rows]
    out.write_text(json.dumps({"rows": fewer}))
    again = run(tool, stand_ins)
    assert keys(again) == keys(rows)
    assert next(row for row in again if row["kind"] == "time")["seconds"].keys() == timed["seconds"].keys()


def test_parts_are_the_images_of_one_run(tool, stand_ins):
    """PX-9: several processes share the images, each with a result of its own, and joined they are all of them."""
    whole = run(tool, stand_ins)
    parts = [stand_ins / f"part-{k}.json" for k in (1, 2, 3)]
    for k, path in enumerate(parts, 1):
        run(tool, stand_ins, "--only", "images", "--part", str(k), "3", "--out", str(path))
    held = [json.loads(path.read_text()) for path in parts]
    assert [len(one["rows"]) for one in held] == [5, 5, 5]
    parts[1].write_text(json.dumps({**held[1], "rows": held[1]["rows"][:2]}))  # as a stop leaves it
    run(tool, stand_ins, "--only", "images", "--part", "2", "3", "--out", str(parts[1]))
    assert keys(json.loads(parts[1].read_text())["rows"]) == keys(held[1]["rows"])
    joined = stand_ins / "joined.json"
    for _ in range(2):  # what is there already is not taken twice
        assert tool.main(["--out", str(joined), "--join", *map(str, parts)]) == 0
    rows = json.loads(joined.read_text())["rows"]
    images = [row for row in whole if row["kind"] == "images"]
    assert keys(rows) == keys(images)
    assert {row["value"] for row in rows} == {row["value"] for row in images}
    with pytest.raises(DataError, match=r"there is no result elsewhere\.json to join"):
        tool.main(["--out", str(joined), "--join", str(stand_ins / "elsewhere.json")])


@pytest.mark.parametrize(
    "asked",
    [["--part", "1", "2"], ["--only", "images", "--part", "0", "2"], ["--only", "images", "--part", "3", "2"]],
)
def test_parts_that_are_none_are_refused(tool, asked, capsys):
    """PX-9: and a GPU where times would be of it."""
    for given in (asked, ["--device", "cuda"], ["--device", "cuda", "--only", "networks"]):
        with pytest.raises(SystemExit):
            tool.main(["digits", *given])
        assert "needs --only images" in capsys.readouterr().err


def test_seconds_are_of_this_processor_or_not_written_down(tool, monkeypatch):
    """PX-9: times are compared on one machine."""
    assert set(tool.spent(2.0, "cpu")) == {"seconds", "threads"}
    monkeypatch.setattr(tool, "machine", lambda device: f"the card {device}")
    assert tool.spent(2.0, "cuda:0") == {"device": "the card cuda:0"}


def test_laws_alone(tool, stand_ins):
    """PX-8: before the images, which several processes then make."""
    for path in stand_ins.glob("*.starts"):
        path.unlink()
    out = stand_ins / "none.json"
    tool.main(["digits", "--folder", str(stand_ins), "--out", str(out), "--only", "laws"])
    assert list(stand_ins.glob("digits-scale*.starts")) and not out.exists()


def test_the_head_that_came_late_may_be_missing(tool, stand_ins):
    """PX-8: all else is measured without it, and nothing again when it comes."""
    cards = {path: path.read_bytes() for path in stand_ins.glob("digits-either.*")}
    for path in cards:
        path.unlink()
    assert not tool.missing("digits", "", stand_ins)  # so that it is measured by default as well
    without = run(tool, stand_ins, "--only", "networks")
    assert not any("either" in row or row.get("form", "").startswith("either") for row in without)
    for path, content in cards.items():
        path.write_bytes(content)
    rows = run(tool, stand_ins, "--only", "networks")
    assert rows[: len(without)] == without and len(rows) == len(without) + 1 + 1 + 3


def test_without_the_scales_logarithm_all_else_is_measured(tool, stand_ins, monkeypatch):
    """PX-5: of T = 100 and 200 it is not trained."""
    for end in ("scale", "direct", "parallel", "single"):
        card, weights = checkpoints.load(f"digits-{end}", stand_ins)
        checkpoints.save(stand_ins, card | {"name": f"digits-{end}-100"}, weights)
    assert not tool.missing("digits", "-100", stand_ins)
    monkeypatch.setattr(tool, "forms", lambda *given: None)  # images know nothing of it
    rows = run(tool, stand_ins, "--only", "networks", "--suffix=-100")
    assert {row["who"] for row in rows if row["kind"] == "scale"} == {"scale", "direct", "constant"}
    assert {row["kind"] for row in rows} >= {"noise", "weights", "algorithm", "squares", "time"}


def test_other_weights_are_measured_again_and_rivals_are_not(tool, stand_ins, monkeypatch):
    """PX-9: of one network; the samplers beside it have nothing to do with its weights, nor with T."""
    first = run(tool, stand_ins)
    card, weights = checkpoints.load("digits-direct", stand_ins)
    checkpoints.save(stand_ins, card, {name: 2 * value for name, value in weights.items()})
    sampled = tool.sample

    def timed(plan, **given):
        assert plan.count == tool.TIMED and not given, f"{plan} was sampled again"
        return sampled(plan)

    monkeypatch.setattr(tool, "sample", timed)
    again = run(tool, stand_ins)
    assert keys(again) == keys(first)

    def of(rows, kind):
        return [row for row in rows if row["kind"] == kind]

    assert of(again, "rival") == of(first, "rival")
    changed = [row for row in of(again, "scale") if row["who"] == "direct"]
    assert changed and not any(row in first for row in changed)
    # The head of either schedule has rows of its own: nothing else is measured again for its sake.
    card, weights = checkpoints.load("digits-either", stand_ins)
    checkpoints.save(stand_ins, card, {name: 2 * value for name, value in weights.items()})
    last = run(tool, stand_ins)
    mine = [row for row in last if "either" in row]
    assert keys(last) == keys(first) and len(mine) == 1 + 1 + 3 and not any(row in again for row in mine)
    assert [row for row in last if "either" not in row] == [row for row in again if "either" not in row]


def test_networks_that_are_not_there_are_named(tool, tmp_path):
    with pytest.raises(tool.DataError, match=r"digits-scale, digits-scale-log, .* are not among the checkpoints"):
        run(tool, tmp_path)


def test_two_results_become_one(tool, tmp_path):
    """What two processes measured beside each other: rows of both, none twice."""
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    tool.results.write(one, "a test", [{"kind": "scale", "i": 1}, {"kind": "rival", "label": "DDIM, 10"}])
    tool.results.write(
        other, "a test", [{"kind": "rival", "label": "DDIM, 10"}, {"kind": "rival", "label": "DDIM, 100"}]
    )
    for _ in range(2):
        assert tool.main(["--out", str(one), "--join", str(other)]) == 0
        rows = json.loads(one.read_text())["rows"]
        assert [row.get("label", row["kind"]) for row in rows] == ["scale", "DDIM, 10", "DDIM, 100"]
