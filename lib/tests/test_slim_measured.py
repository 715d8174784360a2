"""What is measured of slim networks: cost by hand, gates by hand, and that holding the gates holds them."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fewsteps import checkpoints, trained, transforms
from fewsteps.errors import CheckpointError, DataError, ParameterError
from fewsteps.experiments import boards, gallery, grids, slim, slim_tables
from fewsteps.experiments.boards import Entry
from fewsteps.experiments.sampling import Plan, draw
from fewsteps.networks import build
from fewsteps.trained import Trained
from fewsteps.widgets import steps

GATED = {
    "kind": "unet", "channels": 1, "width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [], "patch": 1,
    "classes": 10, "resample": "gated", "size": 8,
}  # fmt: skip
PLAN = Plan("digits", "ddim", 7, count=6, labels="each", seed=4)


@pytest.fixture
def model():
    torch.manual_seed(0)
    network = build(GATED).eval()
    for k, weight in enumerate(network.parameters()):
        weight.data.add_(0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(k)))
    card = checkpoints.card("digits")
    return Trained(card | {"network": GATED}, network)


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(5, 7)

    def forward(self, x, times, cond=None):
        return self.second(self.first(x).mean((2, 3)))


def test_cost_is_that_of_the_products():
    """SD-8: multiply-adds of a convolution and a matrix by hand; bias and activations are not in it."""
    model = Trained({"network": {"channels": 3}, "data": {"size": 8}}, Layers())
    found = slim.cost(model)
    assert found.macs == 8 * 8 * 5 * 3 * 9 + 5 * 7
    assert found.parameters == 5 * 3 * 9 + 5 + 5 * 7 + 7


def test_designs_are_what_is_trained():
    """SD-8: the goal of eight times fewer multiply-adds is the recipes'; the teacher's is that of its checkpoint."""
    made = {called: slim.cost(model) for called, model in slim.designs("fashion").items()}
    assert made[slim.TEACHER] == slim.cost(trained.load("fashion"))
    assert made[slim.TEACHER].macs > 8 * made[slim.SLIM].macs and made[slim.SLIM].macs < made[slim.LITE].macs
    assert made.keys() == {slim.TEACHER, *slim.COLUMNS}


def test_throughput_is_of_each_network(monkeypatch):
    """Fig. 6: median and quartiles, in turns, after two turns that count for nothing; the clock goes by squares."""
    made = {name: Trained({"network": {"channels": 3}, "data": {"size": 8}}, Layers()) for name in ("one", "two")}
    ticks = (float(k * k) for k in itertools.count())
    monkeypatch.setattr(slim, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    found = slim.throughput(made, batch=4, runs=5)
    # Four readings to warm up. Then the first network takes 9, 17, 25, 33, 41 s, and the second 4 s longer each time.
    assert found["one"] == pytest.approx((4 / 25, (4 / 17 - 4 / 33) / 2))
    assert found["two"] == pytest.approx((4 / 29, (4 / 21 - 4 / 37) / 2))
    with pytest.raises(ParameterError, match="runs must be"):
        slim.throughput(made, runs=0)


def test_gates_are_those_that_were_passed(model):
    """SD-9, Fig. 9: as many steps as the sampler takes, between 0 and 1, from noise to data, as the layer said."""
    said = []
    gate = slim.layers(model.network)["down 1"]
    hook = gate.register_forward_hook(lambda module, given, out: said.append(out[..., 0, 0]))
    images, found = slim.watched(model, PLAN)
    hook.remove()
    torch.testing.assert_close(images, draw(model, PLAN).images)
    assert [layer.layer for layer in found] == ["down 1", "up 1"]
    first = found[0]
    assert len(first.times) == 7 and bool((first.times[1:] < first.times[:-1]).all())
    values = torch.stack(said).double()
    torch.testing.assert_close(first.mean, values.mean((2, 3)))
    torch.testing.assert_close(first.spread, values.mean(3).std(2))
    total = ((values - values.mean((0, 2), keepdim=True)) ** 2).mean((0, 2))
    between = ((values.mean(2) - values.mean((0, 2))[None]) ** 2).mean(0)
    torch.testing.assert_close(first.by_time, (between / total).mean(1))
    assert bool((first.by_time > 0).all()) and bool((first.by_time <= 1).all())


def test_held_gates_see_nothing_and_are_let_go(model):
    """SD-5: every gate is its own mean, so another image does not change it; afterwards all is as before."""
    before = draw(model, PLAN).images
    with slim.held(model, PLAN) as fixed:
        gate = slim.layers(model.network)["down 1"]
        one, other = (gate(torch.full((2, 8, 8, 8), value)) for value in (-1.0, 3.0))
        assert torch.equal(one, other)
        assert float((draw(fixed, PLAN).images - before).abs().max()) > 1e-4
    assert torch.equal(draw(model, PLAN).images, before)
    with pytest.raises(ParameterError, match="no gates"):
        slim.layers(build(GATED | {"resample": "haar"}))


def test_what_a_student_says_otherwise_is_counted_by_frequency(model):
    """SD-9, Fig. 10: nothing for the teacher itself; a difference that was put in comes back at its frequency alone."""
    images = torch.rand((12, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    frequency, none = slim.difference(model, model, images, 0.4)
    assert float(none.abs().max()) == 0 and float(frequency[-1]) <= 0.5

    class Striped(Trained):
        def denoiser(self, schedule=None):
            inner = super().denoiser(schedule)
            coefficient = torch.zeros(8, 8)
            coefficient[0, 4] = 0.3
            stripes = transforms.idct2(coefficient)

            class Other:
                def __init__(self):
                    self.schedule = inner.schedule

                def mean(self, x, t, cond=None):
                    return inner.mean(x, t, cond) + stripes

                def draw(self, x, t, cond=None, noise=None):
                    return self.mean(x, t, cond)

            return Other()

    frequency, ratio = slim.difference(model, Striped(model.card, model.network), images, 0.4)
    there = int((frequency - 0.25).abs().argmin())
    assert float(ratio[there]) > 100 * float(ratio[torch.arange(len(ratio)) != there].max())


def test_what_was_measured_is_read_in_order(monkeypatch):
    rows = [{"called": called} for called in ("Lite", "gates", "teacher")]
    monkeypatch.setattr(slim_tables.results, "read", lambda name: {"real": [0.05, 0.0061], "rows": rows})
    assert slim_tables.between_real("any") == "Two sets of as many real images: 0.05 below the cut and 0.0061 above it."
    assert list(slim_tables.measured("any")) == ["teacher", "Lite", "gates"]
    assert slim_tables.spread([0.5]) == "0.5" and slim_tables.spread([0.4, 0.5, 0.6]) == "0.5 ± 0.1"


def test_the_table_in_words(monkeypatch):
    """SD-8, SD-9: ratios by hand, who is apart, and to whom the slim network is nearer."""
    said = {
        "teacher": (1.0, 200),
        "Lite": (3.0, 200),
        "gates": (2.9, 200),
        slim.SLIM: (1.8, 200),
        slim.FEWER: (0.9, 21),
    }
    made = [Entry(name, nfe, nfe, v, v - 0.1, v + 0.1, 0.1, 3, 1000) for name, (v, nfe) in said.items()]
    monkeypatch.setattr(slim_tables.boards, "read", lambda table: made)
    words = slim_tables.sentences("slim-cifar10")
    assert words[0] == "gates: 0.97 times Lite's distance, not apart."
    assert words[1] == "gates, spatial, frequency: 0.60 times Lite's distance, apart."
    assert "1.80 times the teacher's and 0.60 times Lite's, nearer to the teacher's" in words[2]
    assert "21 of its own: 0.50 times the slim network's distance, apart." in words[3]


def test_the_tables_hold_what_has_been_trained(monkeypatch):
    """SD-8, SD-9, SD-10: no row for a column that is not there; guided rows take twice the calls for as many steps."""
    names = {"cifar10-fine", "cifar10-fine-lite"}
    monkeypatch.setattr(checkpoints, "names", lambda *where: sorted(names))
    assert list(slim.family("cifar10-fine")) == ["teacher", "Lite"]
    known = checkpoints.card("cifar10")
    monkeypatch.setattr(checkpoints, "card", lambda name, *where: known | {"name": name})
    made = grids.grid("slim-cifar10-fine")
    assert {cell.method for cell in made} == {"teacher", "Lite"} and {cell.plan.nfe for cell in made} == {200}
    cells = grids.grid("guidance-cifar10-fine")
    guided = {cell.method: cell.plan for cell in cells}
    assert len(guided) == 2 * len(grids.WEIGHTS) and len(cells) == 2 * len(guided)
    assert [guided[f"Lite, weight {w}"].nfe for w in ("0", "1", "2")] == [50, 50, 100]
    assert guided["Lite, weight 2"].guidance == 2 and guided["Lite, weight 2"].labels == "each"


def test_columns_in_a_folder_of_their_own(tmp_path, model):
    """SD-9: shorter trainings are compared with each other; the teacher is not among them, and their cards count."""
    for name, classes in (("digits-lite", 0), ("digits-wsf", 10)):
        described = GATED | {"classes": classes}
        checkpoints.save(tmp_path, model.card | {"name": name, "network": described}, build(described).state_dict())
    made = grids.slimmed("digits", folder=tmp_path)
    assert {(cell.method, cell.plan.checkpoint) for cell in made} == {
        ("Lite", "digits-lite"),
        (slim.SLIM, "digits-wsf"),
    }
    assert {cell.plan.checkpoint: cell.plan.labels for cell in made} == {"digits-lite": "any", "digits-wsf": "each"}
    assert len({cell.key(tmp_path) for cell in made}) == len(made) == 2  # one seed each, as all columns have
    with pytest.raises(CheckpointError, match="the folder holds none"):
        grids.slimmed("digits", folder=tmp_path / "none")


def test_bands_and_gates_as_the_chapter_shows_them():
    """SD-3, SD-5b: factors by hand, over the first network; what holding the gates costs, where there are any."""
    found = {
        "teacher": {"bands": [(0.1, 0.02), (0.3, 0.02)]},
        "Lite": {"bands": [(0.15, 0.1)]},  # one seed: over the teacher's first
        slim.SLIM: {
            "bands": [(0.7, 0.05), (0.9, 0.03)],
            "gates": [{"layer": "down 1", "by_time": [0.5, 0.25, 0.0, 1.0]}],
            "held": {"count": 256, "free": [4.0, 5.0, 6.0], "held": [5.5, 6.5, 7.8]},
        },
    }
    columns, rows = slim_tables.band_rows(found)
    assert rows[0][1:] == ["2", "0.2 ± 0.1", "0.02 ± 0", "1.00", "1.00"] and len(columns) == len(rows[0])
    assert rows[1][4:] == ["1.50", "5.00"] and rows[2][4:] == ["4.00", "2.00"]
    assert "1.50 times that of teacher below the cut and 5.00 times above it; one seed" in slim_tables.lost_by(
        found, "Lite"
    )
    # Factors of 7 and 2.5 by the first seed, 3 and 1.5 by the second: differences of -4.5 and -1.5, far from certain.
    assert "seeds do not tell whether it grew more there (-3.00 ± 19.06" in slim_tables.lost_by(found, slim.SLIM)
    sure = {"teacher": {"bands": [(1, 1)] * 3}, "Lite": {"bands": [(1.1, 1.5), (1.0, 1.4), (1.2, 1.7)]}}
    assert "so it grew more above the cut than below it (+0.43 ± 0.14 over 3 seeds)" in slim_tables.lost_by(
        sure, "Lite"
    )
    sure["Lite"]["bands"] = [(high, low) for low, high in sure["Lite"]["bands"]]
    assert "so it grew less above the cut than below it (-0.43 ± 0.14" in slim_tables.lost_by(sure, "Lite")
    with pytest.raises(DataError, match="Lite"):
        slim_tables.lost_by(found, "gates")
    assert slim_tables.gate_rows(found[slim.SLIM])[1] == [["down 1", "50%", "25%", "0%", "100%"]]
    (said,) = slim_tables.held(found)
    # Differences of 1.5, 1.5 and 1.8: their standard deviation .1732, over the root of 3, times Student's 4.303.
    assert said.startswith(f"{slim.SLIM}: 5.000 with its gates as they are, +1.600 ± 0.4 with each held")
    assert "farther (3 seeds of 256 images)" in said
    found[slim.SLIM]["held"] = {"count": 256, "free": [4.0], "held": [5.5]}
    with pytest.raises(DataError, match="one seed alone"):
        slim_tables.held(found)


def test_guidance_is_chosen_on_one_seed_and_judged_on_others(monkeypatch):
    """SD-10: the weight that is best on the first seed, though another is on those that judge."""
    table = {
        ("Lite, weight 1", 0): 2.0,
        ("Lite, weight 3", 0): 1.0,
        ("Lite, weight 1", 1): 0.5,
        ("Lite, weight 3", 1): 1.5,
        ("Lite, weight 1", 2): 0.5,
        ("Lite, weight 3", 2): 2.5,
    }
    rows = [
        {"method": method, "plan": {"nfe": 50, "seed": seed, "filt": None}, "nfe": 50, "count": 256, "rows": [
            {"metric": "FD", "value": value, "low": value - 0.3, "high": value + 0.3, "floor": 0.1},
            {"metric": "recall", "value": value / 10, "low": value / 10, "high": value / 10, "floor": 0.1},
        ]}
        for (method, seed), value in table.items()
    ]  # fmt: skip
    monkeypatch.setattr(slim_tables.results, "read", lambda name: {"rows": rows})
    columns, said, judged = slim_tables.guided("any")
    assert said == [["Lite", "3", "2 ± 0.2", "0.20 ± 0"]] and len(columns) == 4
    assert judged["Lite"].value == 2.0 and judged["Lite"].seeds == 2
    del rows[5]
    with pytest.raises(DataError, match="not all seeds of Lite, weight 3"):
        slim_tables.guided("any")
    del rows[2:]
    with pytest.raises(DataError, match="of one seed"):
        slim_tables.guided("any")


def test_slim_networks_are_shown_beside_their_teacher_alone():
    """SD-8: a dozen of one kind are no gallery."""
    assert checkpoints.card("fashion-lite")["beside"] == "fashion"
    assert "fashion" in gallery.generators() and "fashion-lite" not in gallery.generators()
    assert "fashion" in steps.shipped() and "fashion-lite" not in steps.shipped()


def test_distances_in_the_order_of_table_5(monkeypatch):
    """SD-9: the columns' order whatever the table's, each over the first one's."""
    made = [Entry(name, 200, 200, v, v - 0.1, v + 0.1, 0.1, 1, 1000) for name, v in (("gates", 3.0), ("Lite", 2.0))]
    monkeypatch.setattr(slim_tables.boards, "read", lambda table: made)
    columns, rows, entries = slim_tables.worth("any")
    assert rows == [["Lite", "200", "1", "2 ± 0.1", "1.00"], ["gates", "200", "1", "3 ± 0.1", "1.50"]]
    assert columns[-1] == "over Lite's" and [entry.method for entry in entries] == ["Lite", "gates"]


def test_costs_are_compared_with_the_first():
    """SD-8: fewer and faster by what factor, by hand; of what was measured as of what is measured now."""
    row = {"parameters": 2_000_000, "macs": 90_000_000, "speed": {"images_per_s": 100.0, "half": 4.0}}
    small = {"parameters": 250_000, "macs": 10_000_000, "speed": {"images_per_s": 450.0, "half": 9.0}}
    columns, rows = slim_tables.cost_rows(slim_tables.costs({"teacher": row, slim.SLIM: small}))
    assert rows == [
        ["teacher", "2.00 M", "90.0 M", "1.0", "100 ± 4", "1.0"],
        [slim.SLIM, "0.25 M", "10.0 M", "9.0", "450 ± 9", "4.5"],
    ]
    assert len(columns) == len(rows[0])


def test_weights_rise_and_the_teacher_is_first():
    """SD-10: as the figure draws them."""
    found = slim_tables.by_weight("guidance-fashion", "recall")
    assert list(found) == [slim.TEACHER, slim.LITE, slim.SLIM, slim.ANSWER]
    assert all([weight for weight, _ in points] == list(grids.WEIGHTS) for points in found.values())
    (entry,) = boards.read("guidance-fashion", "recall", [f"{slim.LITE}{grids.WEIGHT}3"])
    assert found[slim.LITE][grids.WEIGHTS.index(3)][1] == entry


@pytest.mark.parametrize("teacher", ["fashion", "cifar10-fine", "faces-latent"])
def test_the_verdict_of_the_chapter_holds_in_its_tables(teacher):
    """SD-8: as printed farther than Lite, the teacher's answer nearer, fewer steps at half the nearest or so."""
    by = {entry.method: entry for entry in boards.read(f"slim-{teacher}")}
    assert boards.apart(by[slim.SLIM], by[slim.LITE]) == 1 and boards.apart(by[slim.ANSWER], by[slim.LITE]) == -1
    nearest = min(by[called].value for called in slim.COLUMNS if called in by)
    assert by[slim.FEWER].value < 0.55 * nearest
    found = slim_tables.measured(teacher)
    assert found[slim.TEACHER]["macs"] > 8 * found[slim.SLIM]["macs"]
    rates = [found[called]["speed"]["images_per_s"] for called in (slim.SLIM, slim.TEACHER)]
    assert 2 < rates[0] / rates[1] < 5
    assert slim_tables.told(f"slim-{teacher}", teacher)[-1].endswith("images).")
