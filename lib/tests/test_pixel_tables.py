"""Chapter 09's tables and verdicts, from numbers made up so that the answer is known."""

from __future__ import annotations

import pytest

from fewsteps import figures
from fewsteps.errors import DataError
from fewsteps.experiments import pixel_across as across
from fewsteps.experiments import pixel_tables as tables
from fewsteps.experiments.pixel_aware import FORMS

STEPS = 4


def near(value, half=0.1):
    return {"value": value, "low": value - half, "high": value + half, "floor": 0.05}


def scale_rows(less=0.1, errors=(0.2, 0.1, 0.3)):
    """The scale's SSIM is .9 and .8 at two steps, who says the image `less` below; errors of the image read back."""
    own = dict(zip(("scale", "direct", "constant"), errors, strict=True))
    below = {"scale": 0.0, "scale-log": 0.0, "direct": less, "constant": 0.5}
    return [
        {
            "kind": "scale",
            "who": who,
            "i": i,
            "ssim_scale": like - below[who],
            "ssim_alpha_bar": like,
            "ssim_image": 0.7,
            "less": [below[who], 0.01],
            "image_rmse": own.get(who, 0.15),
        }
        for i, like in ((1, 0.9), (STEPS, 0.8))
        for who in below
    ]


def noise_rows(single, last):
    """The parallel network's error is .4 above the least at every step, of the others these; the last step
    tells nothing."""
    least, line = [0.1] * STEPS, [0.9] * (STEPS - 1) + [0.105]
    errors = {"network": [0.5] * STEPS, "single": single, "last": last, "oracle": least, "regression": line}
    ratios = {"network": 0.5, "last": 0.55, "single": 0.6}
    return [{"kind": "noise", "i": STEPS, "T": STEPS, "errors": errors, "ratios": ratios}]


def image_rows(changed=None, seeds=3):
    """Every form measures 5 but for the scale alone, 3, and what is changed: by form, or by form and seed."""
    value = dict.fromkeys(FORMS, 5.0) | {"scale": 3.0} | (changed or {})
    return [
        {
            "kind": "images",
            "form": form,
            "start": start,
            "seed": seed,
            "T": 50,
            "count": 1000,
            "nfe": FORMS[form].nfe + 0.5 * (start == "latent"),
            "seconds": 0.002,
            "finite": 0.5 if form == "printed" else 1.0,
            **near(value.get((form, seed), value[form]) + 10 * (start == "normal")),
        }
        for form in FORMS
        for start in tables.STARTS
        for seed in range(seeds)
    ]


def time_rows(ddpm=0.008):
    """One process: every way with one pass takes 2 ms, DDPM with as many steps this long."""
    return [{"kind": "time", "T": 50, "seconds": dict.fromkeys(FORMS, 0.002) | {"DDPM, 50": ddpm}}]


def rival_rows(ddim=1.0):
    found = {"DDIM, 100": (100, ddim, 0.2), "DDPM, 50": (50, 2.0, 0.1), "DDPM, 1000": (1000, 0.5, 2.0)}
    return [
        {
            "kind": "rival",
            "label": label,
            "nfe": nfe,
            "seconds": taken,
            "count": 1000,
            "seed": 0,
            "parameters": 1_400_000,
            "sampler": "ddim",
        }
        | near(value)
        for label, (nfe, value, taken) in found.items()
    ]


def network_rows():
    sizes = {"scale": 600_000, "parallel": 2_000_000, "single": 1_000_000}
    return [
        {
            "kind": "network",
            "checkpoint": f"mnist-{end}-200",
            "parameters": size,
            "steps": 4600 if end == "single" else 4500,
        }
        for end, size in sizes.items()
    ]


def measured(*parts):
    return tables.Measured("mnist", [row for part in parts for row in part])


def test_what_was_not_measured_is_said_to_be_untrained():
    """Of networks that are not there nothing is shown, although the samplers beside them may be measured already."""
    for empty in (tables.Measured("fashion", []), tables.Measured("fashion", rival_rows())):
        for pair in (tables.scales, tables.noise_table, tables.forms, tables.quality, tables.neighbours):
            said = figures.measured(empty, pair, "**T**", tables.verdict_pass).data
            assert said.startswith("**T** *fashion: not yet trained here.*")


def test_every_estimate_has_a_line_for_every_step():
    columns, lines = tables.scales(measured(scale_rows()))
    assert len(lines) == 8 and all(len(line) == len(columns) for line in lines)
    assert lines[0] == ["the scale", "1", "0.900", "0.900", "0.700", "0.200"]
    assert lines[-1][:3] == ["nothing: a constant", str(STEPS), "0.300"]


@pytest.mark.parametrize(
    ("less", "words"),
    [(0.04, "by -0.040 ± 0.010: that the scale is easier to estimate **holds**"),
     (0.025, "by -0.025 ± 0.010: that the scale is easier to estimate **does not hold**"),
     (-0.1, "by +0.100 ± 0.010: that the scale is easier to estimate **does not hold**")],
)  # fmt: skip
def test_whether_the_scale_is_easier(less, words):
    """PX-5: by more than .02 above the image's own estimate, with the interval of their difference."""
    said = tables.verdict_scale(measured(scale_rows(less)))
    assert words in said and "0.80 to 0.90 over the steps" in said


@pytest.mark.parametrize(("error", "words"), [(0.12, "does not hold"), (0.13, "holds")])
def test_whether_the_scale_gives_the_image_back(error, words):
    """PX-5: an error of up to a quarter above that of who says the image is the image given back."""
    assert f"only coarse structure **{words}**" in tables.verdict_scale(measured(scale_rows(errors=(error, 0.1, 0.3))))


@pytest.mark.parametrize(
    ("single", "last", "counts", "words"),
    [([0.5, 0.5, 0.5, 0.9], [0.9] * 4, (3, 0), "does not hold"),
     ([0.6, 0.6, 0.6, 0.1], [0.9] * 4, (0, 0), "holds"),
     ([0.6, 0.6, 0.6, 0.1], [0.5] * 4, (0, 3), "holds in part"),
     ([0.53, 0.55, 0.4, 0.1], [0.9] * 4, (2, 0), "holds in part")],
)  # fmt: skip
def test_whether_sub_networks_are_worth_it(single, last, counts, words):
    """PX-6: overturned where one head is as near to what can be known at every step that tells anything."""
    found = measured(network_rows(), noise_rows(single, last))
    said = tables.verdict_noises(found)
    assert f"as well at {counts[0]} of 3 steps" in said and f"shared out to all steps, at {counts[1]} (4,500" in said
    assert f"for every step **{words}** on MNIST" in said
    columns, lines = tables.noise_table(found)
    assert lines[0] == ["step 4 of 4", "parallel network", "0.50", ""]
    assert lines[2] == ["step 4 of 4", "single head", "0.60", f"{counts[0]} of 3 steps"] and len(columns) == 4


def test_forms_stand_beside_each_other_by_start():
    columns, lines = tables.forms(measured(image_rows()))
    assert len(lines) == len(FORMS) and all(len(line) == len(columns) for line in lines)
    by = {line[0]: line[1:] for line in lines}
    # Three seeds with .1 each: the half interval of their mean is smaller by the root of 3.
    assert by["the scale alone, decoded"] == ["1", "13 ± 0.06", "3 ± 0.06", "3 ± 0.06", "100.0%"]
    assert by["Algorithm 1 as printed"][-1] == "50.0%"


def test_whether_algorithm_1_generates():
    """PX-8: overturned where the scale alone is the better image; chosen on the first seed, judged on the others."""
    worse = tables.verdict_algorithm(measured(image_rows({"combined": 2.0})))
    assert "decoded*, from the law of pixels, 3 ± 0.07; of Algorithm 1's four forms *" in worse
    assert "from the law of pixels, 5 ± 0.07 (floor 0.05; 0.5 of their pixels are not finite)" in worse
    assert "generates images **does not hold** on MNIST" in worse
    assert "weighted by their errors*, from the law of pixels, 2 ± 0.07, nearer to the data than the scale" in worse
    assert "the path is farther than the scale alone" in worse
    for value, words in ((2.0, "nearer to the data than"), (3.05, "not apart from")):
        said = tables.verdict_algorithm(measured(image_rows({"posterior": value})))
        assert f"images **is not overturned** on MNIST: the path is {words} the scale alone" in said
    lucky = tables.verdict_algorithm(measured(image_rows({("single", 0): 1.0})))
    assert "*one head that says the image*" in lucky and "5 ± 0.07, farther than the scale alone." in lucky
    # DDIM's factor amplifies as well, and is not among those that do not.
    assert "DDIM" not in tables.verdict_algorithm(measured(image_rows({"ddim": 1.0}))).split("Among")[1]


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.5, "nearer than real images in squares of 2 px"),
     (1.0, "between real images in squares of 2 and of 4 px"),
     (9.0, "farther than real images in squares of 4 px")],
)  # fmt: skip
def test_a_distance_is_said_in_squares_of_real_images(value, words):
    """PX-8: what a distance means to the eye."""
    rows = [{"kind": "squares", "side": side, "value": found} for side, found in ((4, 2.0), (2, 1.0))]
    assert tables.as_far(measured(rows), value) == words
    columns, lines = tables.squares(measured(rows[::-1]))
    assert columns[1:] == ["2 px", "4 px"] and lines == [["FD", "1", "2"]]
    assert tables.as_far(measured(), value) == "" and tables.squares(measured())[1] == []
    said = tables.verdict_algorithm(measured(image_rows({"posterior": value}), rows))
    assert f", {words} (floor" in said  # of the best of its forms, at 5 where this one is not


def test_nothing_is_judged_before_all_is_measured():
    for rows, words in ((image_rows(seeds=1), "images of 1 seeds"), (image_rows()[:-1], "there")):
        assert words in tables.verdict_algorithm(measured(rows))
        assert "cannot be judged yet" in tables.verdict_pass(measured(rows, rival_rows(), time_rows()))
    assert "no times are measured" in tables.verdict_pass(measured(image_rows(), rival_rows()))
    assert "DDIM is not measured" in tables.verdict_pass(measured(image_rows(), time_rows()))


def test_a_run_that_stopped_before_a_network_is_waited_for():
    """The parallel network's images alone judge nothing; those of the head of either schedule are waited for once it
    is there."""
    rows = [row for row in image_rows() if FORMS[row["form"]].network == "parallel"]
    assert "measurements of images are there" in tables.verdict_algorithm(measured(rows))
    rows = [row for row in image_rows() if FORMS[row["form"]].network != "either"]
    assert "generates images **" in tables.verdict_algorithm(measured(rows))
    assert "is not trained on MNIST yet" in tables.verdict_either(measured(rows))
    there = {"kind": "network", "checkpoint": "mnist-either", "parameters": 1, "steps": 1}
    assert "measurements of images are there" in tables.verdict_algorithm(measured(rows, [there]))


@pytest.mark.parametrize(("value", "words"), [(2.0, "**holds**"), (3.05, "**does not hold**"), (4.0, "farther than")])
def test_whether_seeing_one_schedule_is_enough_to_generate(value, words):
    """PX-8: the head of either schedule against the scale alone, and DDIM beside it."""
    ddim = [row | {"label": "DDIM, 10", "nfe": 10} for row in rival_rows(1.5) if row["nfe"] == 100]
    rows = measured(image_rows({"either x10, kept": value, ("either x4, new", 0): 9.0}), ddim)
    said = tables.verdict_either(rows)
    assert words in said and "10 predictions under one for all pixels, the noise kept*" in said
    assert "farther than DDIM with 10 calls (1.5 ± 0.1)" in said


def test_rows_of_a_trial_are_not_pooled_with_others():
    trial = [row | {"count": 64} for row in image_rows(seeds=1)]
    with pytest.raises(DataError, match="rows of several counts"):
        tables.entries(measured(image_rows(), trial))


@pytest.mark.parametrize(
    ("changed", "ddim", "seconds", "words"),
    [
        ({"single": 1.0}, 1.0, 0.008, ("as good as DDIM", "better than the scale", "in 0.25 of", "**holds**")),
        ({"single": 1.5}, 1.0, 0.008, ("not as good as DDIM", "better than the scale", "**does not hold**")),
        ({"single": 3.0}, 5.0, 0.008, ("as good as DDIM", "no better than the scale", "**does not hold**")),
        ({"single": 1.0}, 1.0, 0.007, ("as good as DDIM", "in 0.29 of", "**does not hold**")),
    ],
)
def test_whether_one_pass_is_enough(changed, ddim, seconds, words):
    """PX-9: as good as DDIM with 100 calls, better than the scale alone, in a quarter of DDPM's time at equal T."""
    found = measured(image_rows(changed), rival_rows(ddim), time_rows(seconds))
    assert all(part in tables.verdict_pass(found) for part in words)


def test_one_pass_beside_the_samplers_of_tables_1_and_2():
    """PX-9, Tables 1 and 2: parameters, calls, distance and time in one line each, the best first."""
    found = measured(network_rows(), image_rows({"single": 1.0}), time_rows(), rival_rows())
    columns, lines = tables.quality(found)
    assert all(len(line) == len(columns) for line in lines)
    best = lines[0]
    assert best[0].startswith("one head that says the image, from law of") and best[1] == "1.6 M"
    assert best[-1] == "2"
    assert len(lines) == len(tables.ONE_PASS) + 3
    by = {line[0].split(", from law")[0]: line for line in lines}
    # Algorithm 1 walks T steps after one pass, the scale alone none; VE-PC has two calls a step.
    assert by["Algorithm 1 as printed"][2:4] == ["50", "2"] and by["the scale alone, decoded"][2:4] == ["0", "1"]
    assert by["one head that says the image"][2:4] == ["1", "2"]
    assert lines[-1] == ["DDPM, 1000", "1.4 M", "1000", "1000", "1000 × 1", "0.5 ± 0.1", "0.05", "2,000"]
    pc = [rival_rows()[0] | {"label": "VE-PC, 1000 steps", "sampler": "pc", "nfe": 2000}]
    last = tables.quality(measured(network_rows(), image_rows(), time_rows(), pc))[1][-1]
    assert last[:4] == ["VE-PC, 1000 steps", "1.4 M", "1000", "2000"]
    assert not any("predictions" in line[0] for line in lines)


def test_times_of_rivals_are_of_the_run_that_timed_the_forms_where_it_timed_them():
    """PX-9: else of the images that are counted, and of none that a GPU made."""
    rows, timed = rival_rows(), time_rows()
    timed[0]["seconds"] |= {"DDIM, 100": 0.3}
    for row in rows:
        if row["label"] != "DDPM, 50":
            del row["seconds"]
    also = rows[-1] | {"seed": 1, "seconds": 4.0}  # one seed on a CPU
    lines = tables.quality(measured(network_rows(), image_rows(), timed, [*rows, also]))[1]
    assert [line[-1] for line in lines[-3:]] == ["300", "8", "4,000"]
    lines = tables.quality(measured(network_rows(), image_rows(), timed, rows))[1]
    assert [line[-1] for line in lines[-3:]] == ["300", "8", "–"]


def test_errors_by_brightness_are_of_the_last_step():
    """PX-5: a column for each part of the brightness, nothing where it was not measured."""
    rows = [row | {"T": STEPS, "image_rmse_by": [0.1, row["i"] / 10]} for row in scale_rows()]
    columns, lines = tables.brightness(measured(rows))
    assert columns == ["estimates", "0 to 0.5", "0.5 to 1"]
    assert [line[0] for line in lines] == list(tables.ESTIMATES.values())
    assert all(line[1:] == ["0.100", "0.400"] for line in lines)
    assert tables.brightness(measured(scale_rows()))[1] == []


def test_errors_of_known_size_grow_along_the_path():
    """PX-8: four pairs of a noise and a factor, without fresh noise; a rounding error is none."""
    rows = [
        {"kind": "algorithm", "reading": reading, "factor": factor, "fresh": fresh, "size": size}
        | {"rmse": 1e-9 + size * grown + 7 * fresh}
        for (reading, factor), grown in zip(tables.PAIRS, (12.0, 3.0, 4.0, 5.0), strict=True)
        for fresh in (False, True)
        for size in (0.1, 0.0)
    ]
    columns, lines = tables.algorithm(measured(rows))
    assert columns[2:] == ["wrong by 0", "wrong by 0.1"]
    assert [line[2:] for line in lines] == [["0 (exact)", said] for said in ("1.2", "0.3", "0.4", "0.5")]
    every = [
        {"reading": reading, "factor": factor, "fresh": fresh, "size": size, "rmse": 2.0 * fresh + size}
        for reading in tables.NOISES
        for factor in tables.FACTORS
        for fresh in (False, True)
        for size in (0.0, 0.1)
    ]
    columns, lines = tables.toy(every)
    assert len(lines) == 12 and len(columns) == 4 and {tuple(line[2:]) for line in lines} == {("0 (exact)", "2")}
    assert tables.algorithm(measured())[1] == []


def test_weights_are_by_the_middle_of_every_part():
    columns, lines = tables.weights(measured([{"kind": "weights", "scale": [0.25, 0.75]}]))
    assert columns == ["brightness", "0.25", "0.75"] and lines == [["weight of the scale", "0.25", "0.75"]]
    assert tables.weights(measured())[1] == []


def test_neighbours_and_memory_are_one_line_each(monkeypatch):
    rows = image_rows(seeds=1)
    for row in rows:
        row["copies"] = {"samples": [0.1, 0.2, 0.3], "test": [0.15, 0.25, 0.35], "nearer": 0.012}
    columns, lines = tables.neighbours(measured(rows))
    assert len(lines) == len(FORMS) and all(len(line) == len(columns) for line in lines)
    assert lines[0][1:] == ["0.100", "0.200", "0.150", "0.250", "1.2%"]
    known = {"kind": "memory", "T": 200, "sampled": 50, "parameters": 4_000_000, "mib": 2100}
    monkeypatch.setattr(tables.pixel_aware, "measured", lambda **_: [known, known | {"sampled": 0}])
    columns, lines = tables.memory()
    assert [line[:2] for line in lines] == [["200", "50"], ["200", "200"]]
    assert lines[0][2:] == ["4.0 M", "2,100 MiB"] and len(columns) == 4


def test_data_sets_and_numbers_of_steps_stand_beside_each_other():
    """PX-5, PX-6, PX-8, PX-9: a column for each, whose title names T where it is not 50; all verdicts below it."""
    seen = [row | {"T": 50, "i": 50} for row in noise_rows([0.5] * 4, [0.5] * 4)]
    own = measured(network_rows(), scale_rows(), seen, image_rows(), time_rows())
    rows = [row | {"T": 200, "i": 200 if row["kind"] == "noise" else row.get("i")} for row in own.rows]
    more = tables.Measured("fashion", [row for row in rows if row["kind"] != "time"], "-200")
    columns, lines = across.table([own, more])
    assert columns == ["", "MNIST", "Fashion-MNIST, T = 200"]
    by = {name: entries for name, *entries in lines}
    assert (
        by["SSIM of the scale"] == ["0.850"] * 2 and by["error of the image, from its own estimator"] == ["0.100"] * 2
    )
    assert (
        by["error of the noises, single head"] == ["0.60"] * 2
        and by["FD of as many real images (floor)"] == ["0.05"] * 2
    )
    assert by["the scale alone, from N(0, I)"] == ["13 ± 0.06"] * 2
    assert by["the scale alone, from the law of vectors"] == ["3 ± 0.06"] * 2
    assert by["time of one pass over DDPM's"] == ["0.25", "–"] and by["DDIM, 100 calls"] == ["–"] * 2
    said = across.verdicts(own)
    assert said.startswith("**MNIST**\n\n- The SSIM") and said.count("\n- ") == 5 and said.count("on MNIST") == 4


def test_what_was_measured_is_found():
    """Every column is of networks whose images are measured; MNIST with 50 steps is the first."""
    several = across.every()
    assert several[0].title == "MNIST" and all(found.of("images") for found in several)
    assert len({found.title for found in several}) == len(several)


@pytest.mark.parametrize("data", ["mnist", "fashion"])
def test_the_verdicts_of_the_claims_are_those_of_the_numbers_that_are_shipped(data):
    """PX-5, PX-6, PX-8, PX-9: what data/claims.yaml says in words, from data/results/pixel_aware.json."""
    found = tables.read(data)
    scale, path = tables.verdict_scale(found), tables.verdict_algorithm(found)
    assert "easier to estimate **holds**" in scale and "only coarse structure **does not hold**" in scale
    assert "a sub-network for every step **holds in part**" in tables.verdict_noises(found)
    assert "generates images **does not hold**" in path
    assert ("nearer to the data than the scale alone" in path) == (data == "fashion")
    either = tables.verdict_either(found)
    assert "the noise kept*, from the law of vectors" in either and "farther than DDIM with 10 calls" in either
    assert ("betters the scale alone **holds**" in either) == (data == "fashion")
    said = tables.verdict_pass(found)
    assert "not as good as DDIM" in said and "no better than the scale alone" in said and "**does not hold**" in said
    copies = [row["copies"] for row in found.of("images", start="latent", seed=0) if "copies" in row]
    assert len(copies) > 3 and all(row["nearer"] < 0.2 for row in copies)
