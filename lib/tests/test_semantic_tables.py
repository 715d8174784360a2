"""Chapter 10's tables and verdicts, from numbers made up so that the answer is known."""

from __future__ import annotations

import copy
import json

import pytest

from fewsteps import figures
from fewsteps.errors import DataError
from fewsteps.experiments import boards
from fewsteps.experiments import semantic_tables as tables
from fewsteps.training.recipes import PLANNED


def near(value, half=0.1):
    scores = {"inception score": 8.0, "precision": 0.7, "recall": 0.5}
    return {
        "value": value,
        "low": value - half,
        "high": value + half,
        "images": 1000,
        "seeds": 3,
        "scores": scores,
        "nearer": 0.012,
    }


def way(roughness, half=0.1):
    return {"roughness": roughness, "monotone": 0.9, "moved": 0.8, "count": 100, "low": roughness - half,
            "high": roughness + half}  # fmt: skip


DISTANCES = {
    "ddgan2": 8.0, "ddgan2-special": 7.0, "ddgan2-se": 5.0, "ddgan2-pixels": 6.0, "ddgan2-features": 5.5,
    "progddgan": 5.0,
}  # fmt: skip

DIRECTION = {"class": 3, "accuracy": 0.9, "gap": 0.8, "before": 0.01, "after": 0.1, "far": 0.3, "between": 0.7,
             "moves": [0.5, -1.0]}  # fmt: skip


def shares(of):
    """Of three seeds."""
    return {kind: [share - 0.02, share, share + 0.02] for kind, share in of.items()}


def row(end, **other):
    semantic = end not in ("ddgan2", "ddgan2-special", "ddgan4")
    value = DISTANCES.get(end, 6.0)
    distance = {"gaussian": near(value + 1)} | {"prior": near(value)} if semantic else {"noise": near(value)}
    ways = {"z_T": way(1.2)} if semantic else {}
    made = {
        "data": "fashion_mnist", "checkpoint": f"fashion-{end}", "weights": "w", "prior": "p", "steps": 2,
        "trained_images": 320000, "distance": distance, "ways": ways | {"z": way(1.9), "x_T": way(1.5)},
        "explained": shares({"z_T": 0.8} if semantic else {}) | shares({"z": 0.1, "x_T": 0.05, "posterior": 0.2}),
        "seconds": {"generator": 1.0} | ({"gaussian": 0.001, "prior": 0.4} if semantic else {}),
        "directions": [DIRECTION] if semantic else [], "ends": [[0.1, 0.2], [0.3, 0.4]] if semantic else [],
    }  # fmt: skip
    return made | other


def table(tmp_path, long=False, **changed):
    """A result with all rows; `changed` replaces what is said of the full model, of the long one where there is one."""
    rows = [row(end) for end in DISTANCES]
    if long:
        rows.append(row("progddgan", checkpoint="fashion-progddgan-long"))
    rows[-1] |= changed
    ddim = {"data": "fashion_mnist", "denoiser": "d", "called": "DDIM, 50 steps"} | way(1.6)
    pixels = {"data": "fashion_mnist", "denoiser": "d", "called": "pixels"} | way(2.5)
    calls = [{"data": "fashion_mnist", "checkpoint": "fashion-vp", "seconds": 0.5}]
    other = row("progddgan", data="digits", checkpoint="digits-progddgan")
    path = tmp_path / "semantics.json"
    content = {"rows": [*reversed(rows), other], "baselines": [ddim, pixels], "calls": calls}
    path.write_text(json.dumps(content))
    return tables.read("fashion_mnist", path)


def test_rows_come_in_the_order_of_table_1_and_of_one_data_set(tmp_path):
    found = table(tmp_path)
    assert list(found.rows) == list(DISTANCES) and set(found.baselines) == {"pixels", "DDIM, 50 steps"}
    columns, lines = tables.table_1(found)
    assert len(lines) == 2 + 2 * 4 and all(len(line) == len(columns) for line in lines)
    assert lines[0] == ["Baseline", "noise", "8 ± 0.1", "8", "0.7", "0.5", "1.90 (1.80 to 2.00)", "320,000"]
    assert lines[-1][:3] == ["+ Progressive training pipeline (ours)", "prior", "5 ± 0.1"]


def test_a_table_is_shown_with_its_verdict_or_says_that_there_is_none(tmp_path):
    found = table(tmp_path)
    there = figures.measured(found, tables.table_1, "**T**", tables.verdict_table_1).data
    assert there.startswith("**T**") and "| Baseline | noise |" in there and "**holds**" in there
    empty = figures.measured(tables.Measured("mnist", {}), tables.table_1, "**T**", tables.verdict_table_1).data
    assert empty.startswith("**T** *mnist: not yet trained here.*")


def test_the_order_of_table_1(tmp_path):
    """PD-8, Table 1: every part against the row before, with both intervals; the encoder on its own schedule."""
    said = tables.verdict_table_1(table(tmp_path))
    assert "this order **holds** on fashion_mnist" in said and "7 → 5, as in the paper" in said
    assert "on the common one the baseline is at 8 ± 0.1" in said
    close = tables.verdict_table_1(table(tmp_path, distance={"prior": near(5.45)}))
    assert "5.5 → 5.45, not apart" in close and "**does not hold**" in close
    other = tables.verdict_table_1(table(tmp_path, distance={"prior": near(6.5)}))
    assert "5.5 → 6.5, the other way" in other and "**does not hold**" in other


def test_rows_are_compared_only_in_kind(tmp_path):
    """PD-8: vectors of the prior in every row or in none, and all of them after as many images."""
    bare = tables.verdict_table_1(table(tmp_path, distance={"gaussian": near(5.0)}))
    assert "6.5 → 5, as in the paper" in bare  # all with Gaussian vectors, which measure one more
    longer = tables.verdict_table_1(table(tmp_path, trained_images=400000))
    assert "cannot be judged yet: its rows have seen 320,000 to 400,000 images" in longer
    found = table(tmp_path)
    rows = {end: row for end, row in found.rows.items() if end != "ddgan2-special"}
    said = tables.verdict_table_1(tables.Measured(found.data, rows))
    assert "yet: ddgan2-special is not measured on fashion_mnist" in said


@pytest.mark.parametrize(
    ("constant", "uniform", "words"),
    [(6.0, 6.0, "**holds**"), (5.05, 6.0, "**does not hold**"), (6.0, 4.0, "**does not hold**")],
)
def test_progressive_training_against_its_controls(tmp_path, constant, uniform, words):
    """PD-5: overturned by a constant P, or a uniform t, that is as good."""
    found = table(tmp_path)
    values = {"progddgan-constant": constant, "progddgan-uniform": uniform, "progddgan-free": 5.0}
    more = {end: row(end, distance={"gaussian": near(9.0), "prior": near(value)}) for end, value in values.items()}
    said = tables.verdict_progressive(tables.Measured(found.data, {**found.rows, **more}))
    assert said.startswith("The progressive training is at 5 ± 0.1, ") and words in said
    assert "not apart from without Eq. 10 (5 ± 0.1)" in said and "vectors are those of the priors" in said
    more["progddgan-free"]["trained_images"] = 64  # no longer a fair one
    said = tables.verdict_progressive(tables.Measured(found.data, {**found.rows, **more}))
    assert words in said and "Eq. 10" not in said


def test_unlike_numbers_of_images_are_not_compared(tmp_path, monkeypatch):
    """PD-8: a distance depends on how many images it is of."""
    monkeypatch.setattr(boards, "read", lambda name, metric="FD", methods=None: entries(4.0, 9.0))
    monkeypatch.setattr(tables.results, "FOLDER", tmp_path)
    (tmp_path / "few-fashion.json").write_text("{}")
    few = {kind: near(5.0) | {"images": 64} for kind in ("prior", "gaussian")}
    said = tables.verdict_speed(table(tmp_path, long=True, distance=few))
    assert "cannot be judged: distances are of 64 images here and of 1000 there" in said


def test_what_was_trained_for_longer_stands_for_the_model(tmp_path):
    """PD-8: Table 1 has the short rows, and all else the long ones where there are any."""
    found = table(tmp_path)
    long = row("progddgan", checkpoint="fashion-progddgan-long", weights="l", trained_images=PLANNED["fashion-long"])
    both = tables.Measured(found.data, {**found.rows, "progddgan-long": long}, found.baselines)
    assert len(tables.table_1(both)[1]) == len(tables.table_1(found)[1])
    assert tables.moves(both, "l") and not tables.moves(both, "w")
    assert tables.ends(both, "l").tolist() == [pytest.approx([0.1, 0.2]), pytest.approx([0.3, 0.4])]
    assert tables.ends(both, "w") is None
    assert any(line[0].endswith(", 7,000 steps") for line in tables.speed(both)[1])
    names = {"fashion-progddgan", "fashion-progddgan-long", "fashion-ddgan2"}
    assert tables.longest("fashion", "progddgan", names) == "fashion-progddgan-long"
    assert tables.longest("fashion", "ddgan2", names) == "fashion-ddgan2"
    assert tables.longest("digits", "ddgan2", names) is None


def test_smoothness_is_judged_against_both_rivals(tmp_path):
    """PD-7: overturned by the baseline's z or DDIM's x_T being as smooth."""
    said = tables.verdict_ways(table(tmp_path))
    assert "Roughness of z_T is 1.20 (1.10 to 1.30)" in said and "**holds**" in said and "2.50" in said
    rough = {"z_T": way(1.45), "z": way(1.9), "x_T": way(1.5)}
    assert "**does not hold**" in tables.verdict_ways(table(tmp_path, ways=rough))  # DDIM's interval is met
    still = row("ddgan2")
    still["ways"]["z"] |= {"moved": 0.02} | {"roughness": 1.0, "low": 1.0, "high": 1.0}
    found = table(tmp_path)
    said = tables.verdict_ways(tables.Measured(found.data, {**found.rows, "ddgan2": still}, found.baselines))
    assert "1.00 (1.00 to 1.00) (it hardly changes the class)" in said and "**holds**" in said
    alone = tables.verdict_ways(tables.Measured(found.data, {**found.rows, "ddgan2": still}))
    assert "no rival changes the class half as often" in alone
    columns, lines = tables.ways(table(tmp_path))
    assert len(lines) == 2 * 2 + 4 * 3 + 2 and all(len(line) == len(columns) for line in lines)


def test_what_explains_most(tmp_path):
    """PD-2: z_T against x_T and z; the fourth input is told of."""
    said = tables.verdict_explained(table(tmp_path))
    assert "z_T explains 80% (78% to 82%)" in said and "noise of the posterior, 20% (18% to 22%)" in said
    assert "**holds**" in said
    less = shares({"z_T": 0.3, "z": 0.29, "x_T": 0.1, "posterior": 0.2})  # not with every seed
    assert "**does not hold**" in tables.verdict_explained(table(tmp_path, explained=less))
    columns, lines = tables.explained(table(tmp_path))
    assert lines[0] == ["Baseline", "–", "10% (8% to 12%)", "5% (3% to 7%)", "20% (18% to 22%)", "–"]
    lines = tables.explained(table(tmp_path, **{"seen again": 0.1234}))[1]
    assert len(columns) == 6 and lines[-1][-1] == "0.123"


def test_whether_the_prior_may_be_left_out(tmp_path):
    """PD-6: overturned by taking longer than the generator AND being worth it."""
    assert "take 0.4 times as long" in tables.verdict_prior(table(tmp_path))
    assert "**holds**" in tables.verdict_prior(table(tmp_path))
    slow = {"generator": 1.0, "gaussian": 0.001, "prior": 3.0}
    assert "**does not hold**" in tables.verdict_prior(table(tmp_path, seconds=slow))
    even = {"gaussian": near(5.0), "prior": near(5.0)}
    assert "**holds**" in tables.verdict_prior(table(tmp_path, seconds=slow, distance=even))
    columns, lines = tables.prior(table(tmp_path))
    assert [line[1:4] for line in lines[:2]] == [["gaussian", "0", "2"], ["prior", "20", "2"]]
    assert lines[0][-1] == "1.2%"
    assert all(len(line) == len(columns) for line in lines)


def entries(ddim, solver):
    def one(method, nfe, value):
        return boards.Entry(method, nfe, nfe, value, value - 0.1, value + 0.1, 0.0, 3, 1000)

    return [one("DDIM", 50, ddim), one("DPM-Solver++(2M)", 2, solver), one("DPM-Solver++(2M)", 20, 1.0)]


@pytest.mark.parametrize(
    ("ddim", "solver", "words"),
    [
        (
            4.0,
            9.0,
            (
                "1.25 times that of DDIM",
                "less than 1.5 times, at 17.9 times its speed",
                "not as good in that time",
                "**holds**",
            ),
        ),
        (3.0, 9.0, ("1.67 times", "more than 1.5 times", "**does not hold**")),
        (3.3, 9.0, ("1.52 times", "not apart from 1.5 times", "**cannot be told**")),
        (4.0, 5.05, ("DPM-Solver++ with 2 calls is as good in that time", "**does not hold**")),
        (4.0, 9.0, ("8.93 times its speed", "**does not hold**")),
    ],
)
def test_two_steps_against_fifty(tmp_path, monkeypatch, ddim, solver, words):
    """PD-8: half as much again as DDIM-50 at most, ten times as fast, and no solver as good in the same time; the prior
    counted."""
    monkeypatch.setattr(boards, "read", lambda name, metric="FD", methods=None: entries(ddim, solver))
    monkeypatch.setattr(tables.results, "FOLDER", tmp_path)
    (tmp_path / "few-fashion.json").write_text("{}")
    slow = {"generator": 2.4, "gaussian": 0.001, "prior": 0.4} if "8.93 times its speed" in words else None
    assert "yet: progddgan-long is not measured" in tables.verdict_speed(table(tmp_path))
    found = table(tmp_path, long=True, **({"seconds": slow} if slow else {}))
    said = tables.verdict_speed(found)
    assert all(word in said for word in words), said
    columns, lines = tables.speed(found)
    own = next(line for line in lines if line[0].startswith("+ Progressive"))
    assert own[1:] == ["2 + 20 of the prior", "2.8" if slow else "1.4", "5 ± 0.1", "8", "0.7", "0.5"]
    assert ["DDIM", "50", "25", f"{ddim:g} ± 0.1"] == lines[-3][:4] and all(len(line) == len(columns) for line in lines)


def test_class_directions(tmp_path):
    assert tables.directions(table(tmp_path))[1] == [["dress", "90%", "0.8", "0.01", "0.1", "0.3", "0.7"]]


def test_directions_of_other_weights_are_none_of_a_network(tmp_path):
    """PD-7: z_T of another encoder means something else."""
    found = table(tmp_path)
    assert {name: vector.tolist() for name, vector in tables.moves(found, "w").items()} == {"dress": [0.5, -1.0]}
    assert tables.moves(found, "v") == {} == tables.moves(tables.Measured("digits", {}), "w")


def test_before_anything_is_measured(tmp_path):
    found = tables.read("fashion_mnist", tmp_path / "none.json")
    for pair in (tables.table_1, tables.ways, tables.explained, tables.prior, tables.directions, tables.speed):
        assert pair(found)[1] == []
    for verdict in (tables.verdict_table_1, tables.verdict_ways, tables.verdict_explained, tables.verdict_prior,
                    tables.verdict_speed, tables.verdict_progressive):  # fmt: skip
        assert "yet" in verdict(found)


def test_a_damaged_table_is_one_sentence(tmp_path):
    path = tmp_path / "semantics.json"
    for content in ("{", '{"rows": [1]}', json.dumps({"rows": [{"data": "digits"}]})):
        path.write_text(content)
        with pytest.raises(DataError, match=r"semantics\.json is damaged: restore it with git checkout"):
            tables.read("digits", path)
    assert copy.copy(tables.read("digits", tmp_path / "none.json")).rows == {}


def agreement(tmp_path, monkeypatch, own, ddim):
    """Three networks' distances of the full model, of DDIM, of another sampler and of real images."""
    every = {("fashion-progddgan", "ddgan", 22): own, ("fashion", "ddim", 50): ddim, ("fashion", "pc", 30): (1, 1, 1)}
    rows = [
        {"network": "fashion", "checkpoint": who, "sampler": sampler, "nfe": nfe, "extractor": judge, "distance": value}
        for (who, sampler, nfe), values in every.items()
        for judge, value in zip("abc", values, strict=True)
    ]
    rows += [{"network": "fashion", "sampler": "test images", "nfe": 0, "extractor": j, "distance": 0.1} for j in "abc"]
    rows.append({"network": "mnist", "sampler": "ddim", "nfe": 50, "extractor": "d", "distance": 9})
    (tmp_path / "feature_agreement.json").write_text(json.dumps({"rows": rows}))
    monkeypatch.setattr("fewsteps.results.FOLDER", tmp_path)


@pytest.mark.parametrize(
    ("own", "sees"),
    [
        ((0.5, 1.0, 100), "Every judge sees it nearer."),
        ((0.5, 2.5, 150), "Every judge sees it within 1.5 times, and not every one nearer."),
        ((0.5, 4.0, 150), "Not every judge sees it within 1.5 times."),
    ],
)
def test_several_judges(own, sees, tmp_path, monkeypatch):
    """PD-8: the same images in the features of networks of which one alone has learnt these classes."""
    found = table(tmp_path)
    agreement(tmp_path, monkeypatch, own, (1.0, 2.0, 200))
    columns, lines = tables.judges(found)
    assert columns == ["method", "network calls", "FD-a", "FD-b", "FD-c"]
    assert [line[:2] for line in lines] == [
        ["+ Progressive training pipeline (ours)", "22"], ["DDIM", "50"], ["test images", "–"],
    ]  # fmt: skip
    assert lines[1][2:] == ["1", "2", "200"] and lines[2][2:] == ["0.1"] * 3
    said = tables.verdict_judges(found)
    assert said.endswith(sees) and "is 0.5 in those of a, " in said


def test_judges_who_have_seen_nothing(tmp_path, monkeypatch):
    found = table(tmp_path)
    monkeypatch.setattr("fewsteps.results.FOLDER", tmp_path)
    assert tables.judges(found)[1] == [] and "cannot be compared" in tables.verdict_judges(found)


def test_the_verdicts_of_the_claims_are_those_of_the_numbers_that_are_shipped():
    """PD-2, PD-6, PD-7, PD-8: what data/claims.yaml says in words, from data/results/semantics.json."""
    found = tables.read("fashion_mnist")
    assert "that z_T decides what is shown **holds**" in tables.verdict_explained(found)
    assert "need not be counted **holds**" in tables.verdict_prior(found)
    assert "worse than the prior's" in tables.verdict_prior(found)
    assert "z_T alone is smooth **does not hold**" in tables.verdict_ways(found)
    speed = tables.verdict_speed(found)
    assert (
        "less than 1.5 times" in speed and "competitive **holds**" in speed and "is not as good in that time" in speed
    )
    assert "Every judge sees it within 1.5 times" in tables.verdict_judges(found)
    full = found.rows["progddgan-long"]
    assert all(distance["nearer"] < 0.02 for distance in full["distance"].values())
    # Along the difference of the means every class is reached more surely than along the classifier's normal.
    assert all(entry["between"] > entry["far"] > entry["after"] > entry["before"] for entry in full["directions"])
