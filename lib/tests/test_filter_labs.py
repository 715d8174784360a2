"""The laboratories of chapters 05 and 06: what the page computes, number by number against the library."""

import itertools

import numpy as np
import pytest
import torch

from fewsteps import filters, spectra, theory, transforms, widgets
from fewsteps import schedules as sch
from fewsteps.errors import ParameterError
from fewsteps.widgets.filtering import SIZE, PdsLab, TdasLab, lattice, place_of
from test_front_end import agree, run

RNG = np.random.default_rng(20261121)
ALL = {"prior": True, "predictor": True, "corrector": True}


@pytest.mark.parametrize("basis", ["dct", "dft"])
@pytest.mark.parametrize("size", [8, 16])
def test_the_lattice_holds_every_frequency_once(basis, size):
    """TDAS-4, TDAS-5: distances and counts against the library's own map of distances, in Python and in the page."""
    grid, unshifted = lattice(size, basis)
    place = place_of(size, basis)
    assert torch.equal(grid.squared[place], spectra.square_distance((size, size), basis))
    assert torch.equal(torch.bincount(place.flatten()).double(), grid.count)
    assert torch.allclose(grid.frequency[place], spectra.radius((size, size), basis))
    [mine] = run("lattice.js", [["lattice", size, basis]])
    for name, theirs in (("squared", grid.squared), ("count", grid.count), ("unshifted", unshifted)):
        assert list(mine["result"][name].values()) == theirs.tolist(), name
    [places] = run("lattice.js", [["places", size, basis, mine["result"]["pairs"]]])
    assert places["result"] == place.flatten().tolist()


def test_masks_are_the_librarys():
    """TDAS-4, PDS-4, PDS-5: zones in any order of radii, the mask as coded, and the one from the data."""
    for basis, radii in itertools.product(("dct", "dft"), ((0.1, 0.4), (0.4, 0.1), (0.0, 0.3))):
        grid, _ = lattice(16, basis)
        expected = filters.zone_mask((16, 16), (0.9, 0.6), radii, basis)
        [mine] = run("lattice.js", [["zoneGains", grid.squared.tolist(), 16, [0.9, 0.6], radii]])
        assert np.array_equal(np.array(mine["result"])[place_of(16, basis)], expected)
    _, unshifted = lattice(16, "dft")
    coded = filters.pds_radial((16, 16), 0.2, 1.6, layout="unshifted").frequency.exact
    [mine] = run("lattice.js", [["zoneGains", unshifted.tolist(), 16, [1.6], [0.2]]])
    assert np.array_equal(np.array(mine["result"])[place_of(16, "dft")], coded)
    lab = PdsLab(mask="data", alpha=5.0, exponent=1.7)
    agree("lattice.js", [["pdsGains", lab.data().variance.tolist(), SIZE, 5.0]], [lab.gains()])
    assert (lab.gains().min(), lab.gains()[0]) == (lab.gains()[-1], 1)


@pytest.mark.parametrize(("basis", "amplitude"), [("dct", False), ("dct", True), ("dft", False)])
def test_the_rule_of_the_page_is_tdas(basis, amplitude):
    """TDAS-8: lambda, r, kappa and quantiles of the page against `filters.tdas_zones` on the whole image."""
    lab = TdasLab(basis=basis, amplitude=amplitude, T=30, exponent=1.5)
    data = lab.data()
    gamma = torch.rand(len(data.variance), generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.5
    gamma = gamma + 0.02 * data.rings.squared.sqrt()  # rises, as the rule wants it
    whole = gamma[place_of(SIZE, basis)]
    zones = filters.tdas_zones(whole, basis, amplitude=amplitude)
    end = spectra.kappa_end((SIZE, SIZE), basis)
    given = [gamma.tolist(), data.rings.squared.tolist(), data.rings.count.tolist()]
    [mine, along, level] = run(
        "lattice.js",
        [
            ["automaticZones", *given, SIZE, [0.75, 0.9], amplitude, end],
            ["kappaAt", *given],
            ["quantileOf", given[0], given[2], 0.9],
        ],
    )
    assert [zone["lam"] for zone in mine["result"]] == pytest.approx(list(zones.lam), rel=1e-12)
    assert [zone["r"] for zone in mine["result"]] == pytest.approx(list(zones.r), rel=1e-12)
    assert level["result"] == pytest.approx(spectra.quantile(whole, 0.9), rel=1e-12)
    radii = (data.rings.squared[1:] / 2).sqrt() / SIZE
    kept = radii <= end
    expected = spectra.kappa(whole, radii[kept], basis)
    assert np.array(along["result"])[1:][kept] == pytest.approx(expected.numpy(), rel=1e-9)


def test_the_rule_of_the_laboratory_and_where_it_gives_nothing():
    """TDAS-8: the method in Python gives what the page's button sets; flat ratios give no radius, in both."""
    lab = TdasLab(sampler="pc", T=100, exponent=2.0)
    zones, data = lab.rule(), lab.data()
    gamma = (lab.law(filters.IDENTITY).variance[0] / data.variance).tolist()
    given = [gamma, data.rings.squared.tolist(), data.rings.count.tolist(), SIZE, [0.75, 0.9], False, 1]
    [mine] = run("lattice.js", [["automaticZones", *given]])
    assert [zone["lam"] for zone in mine["result"]] == pytest.approx(list(zones.lam), rel=1e-9)
    assert [zone["r"] for zone in mine["result"]] == pytest.approx(list(zones.r), rel=1e-9)
    falling = torch.linspace(2, 1, len(data.variance), dtype=torch.float64)
    given[0] = falling.tolist()
    [mine] = run("lattice.js", [["automaticZones", *given]])
    assert None in [zone["r"] for zone in mine["result"]]
    with pytest.raises(ParameterError, match="kappa never rises"):
        filters.tdas_zones(falling[place_of(SIZE, "dct")], "dct")


@pytest.mark.parametrize(
    ("kind", "controls"),
    [
        ("tdas", {"sampler": "pc", "T": 12, "lam1": 0.8, "lam2": 0.6}),
        ("tdas", {"sampler": "langevin", "T": 25, "basis": "dft", "r1": 0.1, "r2": 0.3}),
        ("tdas", {"sampler": "analytic", "T": 9, "spectrum": "cifar10"}),
        ("pds", {"sampler": "pc", "T": 12, "where": "corrector"}),
        ("pds", {"sampler": "reverse", "T": 20, "mask": "data", "direction": "M_inv"}),
        ("pds", {"sampler": "pc", "T": 8, "centre": "highest", "drift": False, "spectrum": "lfw"}),
    ],
)
def test_laws_of_the_page_are_the_samplers(kind, controls):
    """TDAS-7, PDS-2, PDS-3: the output's variance at every frequency of the lattice, the sampler run in Python."""
    lab = (TdasLab if kind == "tdas" else PdsLab)(**controls)
    data, law = lab.data(), lab.law()
    schedule = data.schedule(theory.RIVALS[lab.sampler].family)
    steps = theory.steps_for("langevin", lab.T) if lab.sampler == "langevin" else lab.T
    times = sch.geometric(schedule, steps)
    filt = lab.filter()
    at = {place: filt.acts(place) for place in ALL}
    scales = [schedule.alpha(times).tolist(), schedule.sigma(times).tolist()]
    gains = filt.space.exact[0].tolist()
    call = ["propagate", lab.sampler, data.variance.tolist(), data.rings.count.tolist(), *scales, gains, at, filt.drift]
    agree("law.js", [call], [law.variance[0]])


def test_noise_of_the_pictures_went_through_the_mask():
    """TDAS-2: the page's cosine transform, forward and back, against the library's."""
    image = RNG.normal(size=(16, 16))
    there, back = run("lattice.js", [["dctImage", image.ravel().tolist(), 16, way] for way in (False, True)])
    for entry, transform in ((there, transforms.dct2), (back, transforms.idct2)):
        assert np.abs(np.reshape(entry["result"], (16, 16)) - transform(torch.tensor(image)).numpy()).max() < 1e-12


def test_rings_and_condition_number():
    """PDS-10: what the page averages and divides, by hand."""
    values, count, squared = [1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 1.0, 2.0], [0.0, 1.0, 1.4, 4.0]
    [plain, weighed, condition] = run(
        "lattice.js",
        [
            ["byRing", values, count, squared],
            ["byRing", values, count, squared, [1.0, 1.0, 2.0, 2.0]],
            ["conditionNumber", [3.0, 1.0], 1.0, [2.0, 0.5]],
        ],
    )
    assert plain["result"] == pytest.approx([1, 8 / 3, 8])
    assert weighed["result"] == pytest.approx([1, 2, 4])
    assert condition["result"] == pytest.approx((2 / 0.25) / (4 / 4))


def test_bad_input_of_the_laboratories():
    with pytest.raises(ParameterError, match="corrector"):
        PdsLab(sampler="ancestral", where="corrector").law()
    with pytest.raises(ParameterError, match=r"^The value of the 'lam1' trait"):
        widgets.TdasLab(lam1=0.0)


def test_the_board_in_python():
    """TDAS-11: what the browser's test holds the page against; the best gain is no worse than none."""
    board = widgets.BoardLab(nfe=12, exponent=1.0)
    found = board.distances()
    assert found["scalar"] <= found["none"]
    assert found["gamma"] < 1e-7
    assert found.keys() >= {"spectral", "heun", "dpmpp_2m"}
