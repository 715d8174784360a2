"""Tables that are filled cell by cell: kept, resumed, and honest about what failed."""

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch

from fewsteps import checkpoints, denoisers, filters, networks, schedules, spectra, transforms
from fewsteps.errors import DataError, ParameterError
from fewsteps.experiments import cells, choosing, families, filtering, grids, onestep, pixels, sampling
from fewsteps.experiments.cells import Cell, Table, fill
from fewsteps.experiments.families import FAMILIES
from fewsteps.experiments.sampling import Plan, sample

QUICK = Plan("digits", "ancestral", 3, count=8)
CELLS = [Cell("one", replace(QUICK, seed=seed)) for seed in range(16)]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Choices from a handful of images."""
    monkeypatch.setattr(choosing, "STATISTICS", 16)
    monkeypatch.setattr(choosing, "GAMMA", 16)
    monkeypatch.setattr(choosing, "TRIED", 16)


def rows(path):
    return json.loads(path.read_text())["rows"]


def test_rows_are_kept_and_not_made_again(tmp_path, monkeypatch):
    """TDAS-11: a second run makes nothing, a further cell is added, and numbers are those of a run of its own."""
    path = tmp_path / "table.json"
    plans = [QUICK, replace(QUICK, seed=1)]
    assert fill(Table(path, "here"), [Cell("one", plan) for plan in plans[:1]]) == []
    before = rows(path)
    made, job = [], cells._job
    monkeypatch.setattr(cells, "_job", lambda cell, *on: made.append(cell) or job(cell, *on))
    assert fill(Table(path, "here"), [Cell("one", plan) for plan in plans]) == []
    assert [cell.plan.seed for cell in made] == [1]
    assert [r for r in rows(path) if r["plan"]["seed"] == 0] == before
    alone = tmp_path / "alone.json"
    monkeypatch.undo()
    fill(Table(alone, "there"), [Cell("one", plans[1])])
    [again] = rows(alone)
    [first] = [r for r in rows(path) if r["plan"]["seed"] == 1]
    assert again["rows"] == first["rows"]
    assert again["key"] == first["key"]
    assert json.loads(path.read_text())["made_by"] == "here"


def test_a_key_is_of_all_that_decides_the_numbers(monkeypatch, tmp_path):
    key = Cell("one", QUICK).key()
    assert Cell("one", QUICK).key() == key
    changed = {"nfe": 4, "seed": 1, "half": True, "prediction": "scaled", "labels": "each", "filt": {"kind": "scalar"}}
    others = [replace(QUICK, **{name: value}) for name, value in changed.items()]
    keys = [Cell("one", plan).key() for plan in others]
    keys += [Cell("two", QUICK).key(), Cell("one", QUICK, {"rule": "gamma"}).key()]
    best = Cell("b", QUICK, {"rule": "best", "among": "scalar"})
    spectral = Cell("s", replace(QUICK, sampler="spectral"))
    keys += [best.key(), spectral.key()]
    monkeypatch.setitem(FAMILIES, "scalar", FAMILIES["scalar"] | {"within": {"lam": [0.0, 1.1]}})
    keys += [best.key()]
    other = tmp_path / "digits.onestep"
    other.write_bytes(b"measured again")
    monkeypatch.setattr(onestep, "path_of", lambda name: other)
    keys += [spectral.key()]
    assert Cell("one", QUICK).key() == key
    monkeypatch.setattr(pixels, "path_of", lambda *where: other)
    keys += [Cell("one", QUICK).key()]
    monkeypatch.setattr(families, "VERSION", 99)
    keys += [best.key()]
    monkeypatch.setattr(cells, "VERSION", 99)
    keys += [Cell("one", QUICK).key()]
    assert len({key, *keys}) == 1 + len(keys)


def test_weights_that_change_during_a_sweep_are_noticed():
    seen = cells._shard(QUICK, checkpoints.FOLDER, "cpu", "other weights", 0)
    assert isinstance(seen, DataError) and "replaced during the sweep" in str(seen)


def test_rows_of_other_settings_are_dropped(tmp_path):
    """TDAS-11: a table never holds two networks; rows and searches of now stay."""
    table = Table(tmp_path / "t.json", "x")
    wanted = [Cell("one", QUICK), Cell("best", replace(QUICK, sampler="reverse"), {"rule": "best", "among": "scalar"})]
    assert fill(table, wanted) == [] and len(table.rows) == 3
    table.add({**next(iter(table.rows.values())), "key": "stale"})
    table.add({**next(iter(table.rows.values())), "key": "elsewhere", "method": "of a network that is not here"})
    assert table.keep(cells.keys(wanted), {"choice", "one", "best"}) == 1 and len(table.rows) == 4
    assert len(rows(tmp_path / "t.json")) == 4, "dropped in memory and not on disk"


def test_a_bug_in_one_cell_says_where_and_stops_no_other(tmp_path, monkeypatch):
    measured = cells.evaluate
    monkeypatch.setattr(cells, "evaluate", lambda plan, *given, **named: measured(plan, *given, **named)["none"])
    failed = fill(Table(tmp_path / "t.json", "x"), [Cell("one", QUICK), Cell("two", QUICK)])
    assert len(failed) == 2
    assert re.fullmatch(r"one, .*: KeyError: 'none' \(cells\.py, line \d+\)", failed[0]), failed[0]


def _fill_for_ever(path):
    torch.set_num_threads(1)  # a fork has none of its parent's
    fill(Table(path, "x"), CELLS)


def test_twenty_kills_leave_the_same_table(tmp_path):
    """TDAS-11: SIGKILL at 20 random moments, then to the end: no torn file, nothing twice, and the same rows."""
    path, whole = tmp_path / "t.json", tmp_path / "whole.json"
    began = time.monotonic()
    fill(Table(whole, "x"), CELLS)
    pace = (time.monotonic() - began) / len(CELLS)
    context = get_context("fork")  # nothing to import: a start takes no longer than a cell
    chance = random.Random(0)
    kept: dict[str, dict] = {}
    for _ in range(20):
        running = context.Process(target=_fill_for_ever, args=(path,))
        running.start()
        time.sleep(chance.uniform(0.0, 2.5 * pace))
        running.kill()
        running.join()
        now = {row["key"]: row for row in rows(path)} if path.exists() else {}
        assert {key: now.get(key) for key in kept} == kept
        kept = now
    assert kept, "every kill came before the first row"
    fill(Table(path, "x"), CELLS)
    ends = [{row["key"]: {**row, "seconds": 0} for row in rows(table)} for table in (path, whole)]
    assert ends[0] == ends[1] and len(ends[0]) == len(CELLS)


def test_a_search_without_an_end_is_no_choice(tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "quick", lambda *given: math.inf)
    wanted = [Cell("best", replace(QUICK, sampler="reverse"), {"rule": "best", "among": "scalar"})]
    failed = fill(Table(tmp_path / "t.json", "x"), wanted)
    assert len(failed) == 2 and "diverges at every point of scalar" in failed[0]
    assert "its filter could not be chosen" in failed[1]


def test_what_fails_is_said_and_the_rest_is_made(tmp_path):
    bad = Cell("bad", replace(QUICK, filt={"kind": "tdas", "lam": -1, "r": 0.1}))
    said = []
    failed = fill(Table(tmp_path / "t.json", "x"), [bad, Cell("good", QUICK)], say=said.append)
    assert len(failed) == 1 and "lam must be" in failed[0]
    assert [row["method"] for row in rows(tmp_path / "t.json")] == ["good"]
    assert len(said) == 2
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        Table(tmp_path / "t.json", "x")


def test_a_choice_is_made_once_for_all_seeds(tmp_path):
    """TDAS-8: the search runs on seeds of its own; every judged row carries the filter it found."""
    path = tmp_path / "t.json"
    plan = replace(QUICK, sampler="reverse")
    wanted = [Cell("best", replace(plan, seed=seed), {"rule": "best", "among": "scalar"}) for seed in (0, 1)]
    assert fill(Table(path, "x"), wanted) == []
    by = {method: [row for row in rows(path) if row["method"] == method] for method in ("choice", "best")}
    assert (len(by["choice"]), len(by["best"])) == (1, 2)
    [choice] = by["choice"]
    tried = choice["why"]["tried"]
    assert choice["filt"] == min(tried, key=lambda pair: pair[0])[1]
    assert len(tried) == families.COARSE + families.FINE
    assert choice["why"]["ends"] == families.ends([point for _, point in tried], choice["filt"])
    assert all(row["plan"]["filt"] == choice["filt"] for row in by["best"])
    assert choice["plan"]["seed"] == choosing.CHOICE_SEED


def deepest(name):
    """The smallest gain that a search reaches: the one that likes small gains."""
    return min(point["lam"] for _, point in families.search(FAMILIES[name], lambda point: point["lam"]))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gets_equally_many_points(name):
    """Both stages, wherever the best lies; no point twice, none at the open end of what is allowed."""
    family = FAMILIES[name]
    assert len(families.coarse(family)) == families.COARSE
    assert set(family.get("order", family["within"])) == set(family["within"])
    for seed in range(10):
        draws = iter(random.Random(seed).random, None)
        points = [point for _, point in families.search(family, lambda point, draws=draws: next(draws))]
        assert len(points) == families.COARSE + families.FINE
        assert len({json.dumps(point, sort_keys=True) for point in points}) == len(points)
        for axis, (low, high) in family["within"].items():
            assert all(low < point[axis] < high for point in points)
        assert all(point.get("lam", 0) != 1 for point in points), "a gain of 1 is no filter"


def test_a_zone_is_searched_as_deep_as_a_number():
    """Else a table would say how far each search went, and not which shape is better."""
    assert deepest("tdas") <= deepest("scalar") < 0.07
    assert deepest("tdas_vp") <= deepest("scalar_vp") <= 0.2


def test_a_search_finds_an_optimum_off_the_grid_in_two_parameters():
    """What the two gain adds up: the second begins where the first has got to."""
    best, other = (0.05, 0.05), {"kind": "tdas", "lam": 0.1, "r": 0.1}

    def distance(point):
        return abs(point["lam"] - best[0]) + abs(point["r"] - best[1])

    found = families.search(FAMILIES["tdas"], distance)
    assert families.best(found) == {"kind": "tdas", "lam": 0.05, "r": 0.05}
    assert families.best(found[: families.COARSE]) == other
    assert families.search(FAMILIES["tdas"], lambda point: math.inf)[0][0] == math.inf


def test_the_second_stage_goes_to_the_neighbours_and_beyond_the_ends():
    points = families.around(FAMILIES["scalar"], "lam", {"kind": "scalar", "lam": 0.6, "where": ["prior"]})
    assert [point["lam"] for point in points] == [0.5333, 0.4667, 0.65, 0.7]
    assert all(point["where"] == ["prior"] for point in points)
    points = families.around(FAMILIES["tdas"], "r", {"kind": "tdas", "lam": 0.05, "r": 0.1})
    assert [(point["lam"], point["r"]) for point in points] == [(0.05, 0.05), (0.05, 0.2)]
    with pytest.raises(ParameterError, match="lam must be one of"):
        families.around(FAMILIES["scalar"], "lam", {"kind": "scalar", "lam": 0.5})


def test_a_best_at_the_end_of_what_was_tried_is_said():
    points = [{"kind": "tdas", "lam": lam, "r": r, "drift": True} for lam in (0.2, 0.1, 0.35) for r in (0.1, 0.05)]
    points.append({"kind": "tdas", "lam": 0.2, "r": 0.2})
    assert families.ends(points, points[0]) == []
    assert families.ends(points, {"lam": 0.1, "r": 0.2}) == [
        "lam = 0.1 is the smallest that was tried",
        "r = 0.2 is the largest that was tried",
    ]


def test_rules():
    """TDAS-8 and gamma^(-1/2) from samples: as the filters room computes them from the same images."""
    plan = replace(QUICK, sampler="reverse", nfe=6)
    found = choosing.choose({"rule": "gamma"}, plan)
    images = sample(replace(plan, count=16, seed=choosing.CHOICE_SEED)).images.double()
    ratio = spectra.ratio(spectra.power_spectrum(images, "dct"), pixels.read("digits", 8).power("dct"))
    ring = filtering.rings_of(8)
    by_hand = torch.stack([ratio[ring == k].mean() for k in range(int(ring.max()) + 1)]).rsqrt()
    assert found["filt"]["gains"] == pytest.approx(by_hand.tolist(), rel=1e-4)
    zones = filters.tdas_zones(ratio, "dct")
    found = choosing.choose({"rule": "tdas_auto", "where": ["prior"]}, plan)["filt"]
    assert found["lam"] == pytest.approx(list(zones.lam)) and found["r"] == pytest.approx(list(zones.r))
    assert found["where"] == ["prior"]
    with pytest.raises(ParameterError, match="rule must be one of"):
        choosing.choose({"rule": "luck"}, plan)
    with pytest.raises(ParameterError, match="among must be one of scalar"):
        choosing.choose({"rule": "best", "among": "all"}, plan)


def test_filters_from_what_a_plan_says():
    """TDAS-6: a number and a mask over pixels go together too."""
    made = filtering.build({"kind": "pds_data", "alpha": 5, "direction": "M_inv", "drift": True}, "cifar10", 32)
    power = pixels.read("cifar10", 32).dft * 1024
    assert torch.allclose(made.frequency.exact, filters.pds_mask(power, 5).reciprocal(), rtol=1e-3)
    turned = filtering.build(
        {"kind": "pds", "r": 0.2, "lam": 1.6, "solenoid": {"kind": "S3", "omega": 0.5}}, "cifar10", 32
    )
    assert turned.solenoid == filters.Solenoid(3, 0.5)
    spaced = filtering.build({"kind": "tdas", "lam": 0.9, "r": 0.3, "space": "tdas"}, "lfw", 64)
    assert spaced.space.exact.shape == (3, 64, 64)
    both = filtering.build({"kind": "scalar", "lam": 0.5, "space": "tdas", "where": ["predictor"]}, "lfw", 64)
    assert torch.equal(both.space.exact, 0.5 * spaced.space.exact) and both.frequency is None
    assert both.where == filters.scalar(0.5, where=["predictor"]).where
    rings = filtering.build({"kind": "rings", "gains": [0.5] * 11, "basis": "dct"}, "digits", 8)
    assert torch.allclose(rings.apply(torch.ones(1, 8, 8)), torch.full((1, 8, 8), 0.5))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"kind": "scalar", "lam": 0.9, "data": "lfw"}, "made for lfw, and the network makes mnist"),
        ({"kind": "rings", "gains": [1.0] * 11}, "11 rings and images of 32 px have 45 in the dct"),
        ({"kind": "tdas", "lam": 0.9, "r": 0.3, "space": "pds"}, "0 where every image of mnist is black"),
        ({"kind": "box"}, "scalar, tdas, pds, pds_data, rings"),
    ],
)
def test_filters_that_do_not_fit_are_refused(said, message):
    with pytest.raises(ParameterError, match=message):
        filtering.build(said, "mnist", 32)


def test_missing_statistics_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"no statistics of imagenet at 64 px.*pixels@imagenet-64 makes"):
        pixels.read("imagenet", 64)
    with pytest.raises(DataError, match=r"not known: python tools/measure_statistics\.py onestep@digits"):
        onestep.read(checkpoints.card("digits"), folder=tmp_path)
    (tmp_path / "digits-8.pixels").write_bytes(b"torn")
    with pytest.raises(DataError, match="damaged"):
        pixels.read("digits", 8, tmp_path)
    other = checkpoints.card("digits") | {"weights": {"sha256": "other"}}
    with pytest.raises(DataError, match="with other weights"):
        onestep.read(other)


def test_pixels_are_those_of_the_images():
    """TDAS-6, PDS-5, PDS-6: means and spectra as shipped, against the bundled images themselves."""
    from fewsteps import data

    known, images = pixels.read("digits", 8), data.load("digits", "train", 8)
    x = images.images.double()
    assert (known.count, known.sha256) == (len(images), images.sha256)
    for mine, theirs in (
        (known.mean, x.mean(0)),
        (known.square, x.square().mean(0)),
        (known.dct, transforms.dct2(x).square().mean(0)),
        (known.dft, transforms.fft2(x).abs().square().mean(0)),
    ):
        assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-9)


def test_errors_in_one_step():
    """BASE-ADDIM: at high noise the data's own variance is unknown, at low noise next to nothing; scales agree."""
    known = onestep.read(checkpoints.card("digits"))
    statistics = pixels.read("digits", 8)
    variance = (statistics.dct - transforms.dct2(statistics.mean).square()).mean(0)
    assert torch.allclose(known.error[-1], variance, rtol=0.35, atol=2e-3)
    # Told the class, a network knows more, and what it says has more power.
    told = onestep.read(checkpoints.card("digits"), told=True)
    assert float((told.error / known.error)[-5:].mean()) < 0.95
    assert float(told.power[-1].sum()) > 3 * float(known.power[-1].sum())
    # A mean and what it leaves unknown share the variance between them (law of total variance).
    share = (known.error + known.power).mean((1, 2)) / variance.mean()
    assert float((share - 1).abs().max()) < 0.1
    assert known.error[0].max() < 1e-3
    from fewsteps.schedules import VE, VPLinear

    ve, vp = VE(), VPLinear()
    t = float(vp.time(2 * 0.3))  # in [-1, 1] noise of 0.6 is what 0.3 is in [0, 1]
    assert torch.allclose(known.eps_power(ve, 0.3), known.eps_power(vp, t), rtol=1e-4, atol=1e-4)
    assert float(known.unknown(0.3).mean()) == pytest.approx(0.09 * (1 - float(known.eps_power(ve, 0.3).mean())))


def test_errors_of_a_denoiser_that_is_known_exactly():
    """BASE-ADDIM: of Gaussian data v s² / (v + s²) stays unknown, v² / (v + s²) is said, at any level."""
    centre = torch.full((1, 8, 8), 0.4)
    exact = denoisers.Gaussian(schedules.VE(0.01, 20.0), torch.full((8, 8), 0.01, dtype=torch.float64), centre)
    generator = torch.Generator().manual_seed(3)
    clean = centre + 0.1 * torch.randn((2048, 1, 8, 8), generator=generator)
    levels = torch.tensor([0.02, 0.1, 0.5], dtype=torch.float64)
    found = onestep.errors_of(exact, clean, centre, levels=levels)
    for level, error, power in zip(levels.tolist(), found.error, found.power, strict=True):
        assert float(error.mean()) == pytest.approx(0.01 * level**2 / (0.01 + level**2), rel=0.02)
        assert float(power.mean()) == pytest.approx(0.01**2 / (0.01 + level**2), rel=0.02)
    assert len(onestep.errors_of(exact, clean[:8], centre).levels) == onestep.LEVELS


def test_half_precision_is_close():
    one, other = (sample(replace(QUICK, nfe=6, half=half)).images for half in (False, True))
    assert 0 < float((one - other).abs().mean()) < 0.02


def test_a_compiled_network_makes_the_same_images(tmp_path, monkeypatch):
    card = dict(checkpoints.card("digits")) | {"name": "tiny"}
    card["network"] = card["network"] | {"width": 8, "multipliers": [1]}
    torch.manual_seed(0)
    network = networks.build(card["network"])
    weights = {name: w + 0.02 * torch.randn_like(w) for name, w in network.state_dict().items()}  # none ends in zeros
    checkpoints.save(tmp_path, card, weights)
    plan = replace(QUICK, checkpoint="tiny", nfe=2)
    plain = sample(plan, tmp_path).images
    monkeypatch.setattr(sampling, "_loaded", {})
    monkeypatch.setenv(sampling.COMPILE, "eager")  # traced as for inductor, whose compiler takes half a minute
    compiled = sample(plan, tmp_path).images
    [used] = sampling._loaded.values()
    assert used.network._compiled_call_impl is not None  # what Module.compile sets; nothing else says that it ran
    assert float(plain.std()) > 0.01
    torch.testing.assert_close(compiled, plain, rtol=0, atol=1e-4)


def test_a_filter_may_be_chosen_at_another_budget(tmp_path, monkeypatch):
    """The long tables: one search with few calls, judged with many."""
    monkeypatch.setitem(FAMILIES, "scalar", FAMILIES["scalar"] | {"coarse": {"lam": [0.5]}, "within": {}})
    rule = {"rule": "best", "among": "scalar", "at": 3}
    made = [Cell("long", replace(QUICK, nfe=nfe), rule) for nfe in (5, 7)]
    assert fill(Table(tmp_path / "t.json", "x"), made) == []
    by = {row["plan"]["nfe"]: row for row in rows(tmp_path / "t.json")}
    assert by.keys() == {3, 5, 7}
    assert by[3]["method"] == "choice"
    assert by[5]["plan"]["filt"] == by[7]["plan"]["filt"] == by[3]["filt"]


@pytest.mark.parametrize("name", ["scoreboard-digits", "scoreboard-mnist", "scoreboard-cifar10"])
@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_grids_judge_everything_alike(name, profile):
    """PDS-9: at one budget the same seeds and counts for every method, and at all of them what claims are judged by."""
    by = {}
    for cell in grids.grid(name, profile):
        by.setdefault(cell.plan.nfe, {}).setdefault(cell.method, []).append((cell.plan.seed, cell.plan.count))
        assert cell.plan.seed < choosing.CHOICE_SEED
    for nfe in grids.NFE:
        assert by[nfe].keys() >= grids.JUDGED.keys()
        assert len({tuple(sorted(settings)) for settings in by[nfe].values()}) == 1
        assert by[nfe].keys() == grids.SCOREBOARD.keys() or profile == "cpu"
    assert by[100].keys() == grids.LONG_RUNS.keys()


def test_gans_are_compared_with_who_is_told_no_class():
    """PD-8: a denoiser told none, in single precision, as many images and seeds at every budget."""
    cells_ = grids.grid("few-digits")
    assert {(cell.plan.labels, cell.plan.half, cell.plan.count) for cell in cells_} == {("any", False, grids.COUNT)}
    by = {}
    for cell in cells_:
        by.setdefault((cell.method, cell.plan.nfe), []).append(cell.plan.seed)
    assert {nfe for method, nfe in by if method == "DPM-Solver++(2M)"} == {2, 3, 4, 5, 10, 20, 50}
    assert {method for method, nfe in by if nfe == 50} == set(grids.FEW_CALLS)
    assert all(tuple(seeds) == grids.SEEDS for seeds in by.values())
    smoke = [(cell.method, cell.plan.nfe) for cell in grids.grid("few-digits", "smoke")]
    assert len(smoke) == len(set(smoke)) == len(grids.FEW_CALLS)


def test_a_table_that_is_unknown_is_refused():
    with pytest.raises(ParameterError, match="scoreboard-mnist"):
        grids.grid("table")


def test_a_sweep_that_was_killed_goes_on(tmp_path):
    """SIGKILL in mid-sweep: no torn file, finished rows stay, and the same command fills the rest."""
    path = tmp_path / "t.json"
    sweep = [
        sys.executable,
        "-m",
        "fewsteps.cli",
        "sweep",
        "scoreboard-digits",
        "--profile",
        "smoke",
        "--workers",
        "1",
        "--out",
    ]
    command, whole = [*sweep, str(path), "--only", "dpmpp_2m"], [*sweep, str(tmp_path / "whole.json")]
    whole += ["--only", "dpmpp_2m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = subprocess.Popen([*sweep, str(path)], env=environment)
    until = time.monotonic() + 120
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    kept = rows(path)
    assert kept
    assert not list(tmp_path.glob("*.part"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {row["key"] for row in kept} <= {row["key"] for row in rows(path)}
    subprocess.run(whole, env=environment, check=True, capture_output=True)
    [one] = [row for row in rows(path) if row["method"] == "DPM-Solver++(2M)"]
    [other] = [row for row in rows(tmp_path / "whole.json") if row["method"] == "DPM-Solver++(2M)"]
    assert one["rows"] == other["rows"]
    assert math.isfinite(one["rows"][0]["value"])


def test_a_step_of_langevin_moves_is_chosen_like_a_filter(tmp_path, monkeypatch):
    """PDS-9, PDS Table 1: preconditioner and step of NCSN's sampler together, and both reach the judged row."""
    small = FAMILIES["langevin_pds"] | {"coarse": {"lam": [1.6], "direction": ["M"], "step": [0.5]}}
    monkeypatch.setitem(FAMILIES, "langevin_pds", small)
    wanted = [cell for cell in grids.grid("moves-mnist-ncsn", "smoke") if "PDS" in cell.method]
    assert wanted[0].plan.nfe == 20 and wanted[0].plan.start == "uniform"
    assert fill(Table(tmp_path / "t.json", "x"), wanted) == []
    [choice, judged] = sorted(rows(tmp_path / "t.json"), key=lambda row: row["method"] != "choice")
    best = min(choice["why"]["tried"], key=lambda pair: pair[0])[1]
    end = checkpoints.card("mnist-ncsn")["predicts"]["sigmas"][-1]
    assert judged["plan"]["named"]["eps"] == pytest.approx(best["step"] * end**2)
    assert (judged["plan"]["filt"] or {}).get("kind") == best.get("kind")


def test_every_table_can_be_made():
    """TDAS-10, TDAS-11, PDS-11: all cells of all tables are plans that their samplers take."""
    for name in grids.GRIDS:
        for profile in ("smoke", "cpu", "gpu"):
            made = grids.grid(name, profile)
            assert len({cell.key() for cell in made}) == len(made), (name, profile)
