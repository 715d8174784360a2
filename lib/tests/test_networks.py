"""What every network must do, whatever it has learnt: shapes, classes, refusals, gradients, and being made again."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fewsteps.errors import ParameterError, ShapeError, UserError
from fewsteps.networks import KINDS, NCSN, Classifier, NCSNv2, Parallel, ScaleVAE, UNet, Worded, build
from fewsteps.networks.ncsn import _Norm, _pooled
from fewsteps.training import RECIPES

SIGMAS = [1.0, 0.1, 0.01]
SMALL = {
    "unet": {"channels": 3, "width": 16, "multipliers": [1, 2], "blocks": 1, "classes": 4},
    "classifier": {"channels": 3, "classes": 4, "width": 8, "blocks": 1},
    "ncsn": {"channels": 3, "sigmas": SIGMAS, "width": 4},
    "ncsnv2": {"channels": 3, "width": 4},
    "worded": {
        "channels": 3,
        "width": 16,
        "multipliers": [1, 2],
        "blocks": 1,
        "context": 12,
        "phrases": ["a red ship", "a ship", "grey"],
        "classes": 3,
    },
    "parallel": {"channels": 3, "heads": 1, "masked": False, "width": 16, "multipliers": [1, 2], "hidden": 4},
}
DENOISING = sorted(SMALL.keys() - {"classifier"})


def made(kind, seed=0, **other):
    torch.manual_seed(seed)
    return build({"kind": kind, **SMALL[kind], **other})


def stirred(network, seed=1):
    """The same with no weight at zero, so that nothing is silent because it has not been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return network


def images(*shape, seed=2):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def said(network, x, times=None):
    """What a network of any kind says of images, at one noise level after the other."""
    if isinstance(network, Classifier):
        return network(x)
    times = torch.tensor(SIGMAS)[torch.arange(len(x)) % 3] if times is None else times
    told = ((100 * times).long() % 3,) if isinstance(network, Worded) else ()  # untold, what listens has no gradient
    told = (x.sigmoid(),) if isinstance(network, Parallel) else told
    answer = network(x, times, *told)
    return answer[0] if isinstance(network, ScaleVAE) else answer


def test_every_kind_is_tested():
    # in test_slim, test_latent, test_adversarial and test_pixel_networks
    apart = {"student", "autoencoder", "ddgan", "prior", "scale"}
    assert SMALL.keys() == KINDS.keys() - apart


@pytest.mark.parametrize("kind", DENOISING)
@pytest.mark.parametrize("size", [(16, 16), (24, 8), (32, 48)])
def test_the_answer_has_the_shape_of_the_image(kind, size):
    """One set of weights serves every size."""
    x = images(2, 3, *size)
    answer = said(stirred(made(kind)), x)
    assert answer.shape == x.shape and answer.dtype == x.dtype and bool(answer.isfinite().all())


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_images_do_not_see_each_other(kind):
    network, x = stirred(made(kind)), images(4, 3, 16, 16)
    alone = torch.cat([said(network, x[i : i + 1], torch.tensor([SIGMAS[i % 3]])) for i in range(4)])
    assert (said(network, x) - alone).abs().max() < 1e-4 * alone.abs().max()


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_the_gradient_reaches_every_parameter(kind):
    network, x = stirred(made(kind)), images(3, 3, 16, 16)
    answer = network(x, torch.tensor(SIGMAS), torch.tensor([0, 1, -1])) if kind == "unet" else said(network, x)
    answer.square().mean().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert silent == []


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_the_seed_decides_the_weights(kind):
    first, again, other = made(kind).state_dict(), made(kind).state_dict(), made(kind, seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_a_description_is_enough_to_build_it_again(kind):
    """As a card does: the description through JSON, the weights by name."""
    network, x = stirred(made(kind)), images(3, 3, 16, 16)
    again = build(json.loads(json.dumps({"kind": kind, **SMALL[kind]})))
    again.load_state_dict(network.state_dict())
    assert torch.equal(said(network, x), said(again, x))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_describes_a_network(name):
    made_from = RECIPES[name]
    network = build(json.loads(json.dumps(made_from.network)))
    channels = made_from.network.get("network", made_from.network)["channels"]
    size = made_from.network.get("network", made_from.network).get("size", made_from.size)  # of latents, perhaps
    x = images(2, channels, size, size)
    answer = network(x, torch.zeros(2, 4, size // 4, size // 4)) if "autoencoder" in name else said(network, x)
    assert len(answer[0] if isinstance(answer, tuple) else answer) == 2
    assert sum(weight.numel() for weight in network.parameters()) < (5e7 if name.endswith("-large") else 8e6)


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_half_precision_says_nearly_the_same(kind):
    """Training runs under autocast; what a checkpoint says later is computed in single precision."""
    network, x = stirred(made(kind)), images(3, 3, 16, 16)
    exact = said(network, x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = said(network, x)
    assert (rounded - exact).norm() < 0.05 * exact.norm()


def test_a_unet_says_nothing_at_first():
    network = made("unet")
    assert not said(network, images(3, 3, 16, 16)).any()
    assert all(not block.second.weight.any() for block in [*network.down, *network.middle, *network.up])


def test_the_direct_path_carries_every_pixel():
    """With gains of one, a kernel that copies and nothing else trained, what comes out is what went in."""
    network, x = made("unet", direct=True, patch=4), images(3, 3, 16, 16)
    assert not said(network, x).any()
    torch.nn.init.dirac_(network.direct.weight)
    torch.nn.init.zeros_(network.direct.bias)
    torch.nn.init.ones_(network.gain.bias)
    assert torch.equal(said(network, x), x)
    assert made("unet").direct is None


def test_what_is_finished_at_full_resolution_is_added_pixel_by_pixel():
    """Nothing at first; then three convolutions of the noisy image and the prediction, written out."""
    network, x = made("unet", finish=8, patch=4), images(3, 3, 16, 16)
    assert not said(network, x).any() and made("unet").finish is None
    torch.nn.init.normal_(network.outward.weight, std=0.1)
    end, times = network.finish, torch.tensor(SIGMAS[:3])
    without = network(x, times)
    torch.nn.init.normal_(end.last.weight)

    def convolved(layer, values):
        return F.conv2d(values, layer.weight, layer.bias, padding=1)

    scale, shift = end.steer(network.embed(times, None))[:, :, None, None].chunk(2, 1)
    h = convolved(end.second, F.silu(convolved(end.first, torch.cat((x, without), 1))))
    h = (h - h.mean((1, 2, 3), keepdim=True)) / (h.var((1, 2, 3), unbiased=False, keepdim=True) + end.norm.eps).sqrt()
    wanted = without + convolved(end.last, F.silu(h * (1 + scale) + shift))
    torch.testing.assert_close(network(x, times), wanted, atol=1e-5, rtol=1e-4)
    with pytest.raises(ParameterError, match="finish must be a multiple of 8"):
        made("unet", finish=4)


def test_a_dropped_class_is_no_class():
    network, x, times = stirred(made("unet")), images(3, 3, 16, 16), torch.tensor([-0.5, 0.0, 0.5])
    without = network(x, times)
    assert torch.equal(network(x, times, torch.full((3,), -1)), without)
    mixed = network(x, times, torch.tensor([0, -1, 3]))
    assert [bool((mixed[i] - without[i]).abs().max() > 1e-3) for i in range(3)] == [True, False, True]


def test_what_moves_in_moves_out():
    """A spot far from the edges is answered in the same way wherever it is: there are no places in the weights."""
    network = stirred(made("unet", classes=0, multipliers=[1, 1], attention=[1]))
    x = torch.zeros(2, 3, 160, 160)
    x[:, :, 76:80, 76:80] = images(3, 4, 4)
    x[1] = x[1].roll((4, -8), (-2, -1))  # whole units: 2 px per patch, and half of that at the coarser resolution
    answer = network(x, torch.zeros(2))
    moved = answer[0].roll((4, -8), (-2, -1))
    # Not to the last digit: the group statistics also see how far the spot is from the edges.
    assert (answer[1] - moved)[:, 40:120, 40:120].abs().max() < 1e-3 * answer.abs().max()
    assert (answer[1] - answer[0])[:, 40:120, 40:120].abs().max() > 0.1 * answer.abs().max()


def test_ncsn_takes_the_nearest_of_its_levels():
    """Nearest in logarithm: between 1 and 0.1 the border is at sqrt(0.1)."""
    network, x = stirred(made("ncsn")), images(1, 3, 16, 16)
    near = {sigma: network(x, torch.tensor([sigma])) for sigma in (1.0, 0.33, 0.31, 0.1, 0.01, 1e-4, 40.0)}
    assert torch.equal(near[1.0], near[0.33]) and torch.equal(near[1.0], near[40.0])
    assert torch.equal(near[0.1], near[0.31]) and torch.equal(near[0.01], near[1e-4])
    assert not torch.allclose(near[1.0], near[0.1]) and not torch.allclose(near[0.1], near[0.01])


def test_ncsn_begins_at_the_size_of_a_score():
    """Times sigma, the answers at first are alike at all levels, as those of a score are."""
    network, x = made("ncsn", width=16), images(1, 3, 16, 16).expand(3, -1, -1, -1)
    sizes = (network(x, torch.tensor(SIGMAS)) * torch.tensor(SIGMAS)[:, None, None, None]).square().mean((1, 2, 3))
    assert sizes.max() < 4 * sizes.min() and 0.01 < sizes.mean() < 4


def test_ncsnv2_divides_by_the_noise_level_and_knows_it_from_nothing_else():
    network, x = stirred(made("ncsnv2")), images(1, 3, 16, 16).expand(3, -1, -1, -1)
    sigma = torch.tensor([17.0, 1.0, 0.01])
    answer = network(x, sigma) * sigma[:, None, None, None]
    assert torch.allclose(answer[0], answer[1], rtol=1e-4, atol=1e-6)
    assert torch.allclose(answer[2], answer[1], rtol=1e-4, atol=1e-6)


def test_the_normalisation_is_instance_norm_plus_plus():
    """BASE-NCSN, appendix A: scale (h - mean) / spread + scale weight (mean - m) / v + shift, per level."""
    norm = stirred(_Norm(6, 3))
    x, level = 2 + images(3, 6, 5, 7), torch.tensor([2, 0, 2])
    scale, weight, shift = (part[..., None, None] for part in norm.table.weight[level].chunk(3, dim=1))
    means = x.mean((2, 3), keepdim=True)
    relative = (means - means.mean(1, keepdim=True)) / (means.var(1, keepdim=True) + 1e-5).sqrt()
    expected = scale * (nn.InstanceNorm2d(6)(x) + weight * relative) + shift
    assert (norm(x, level) - expected).abs().max() < 1e-4


def test_pooling_as_a_product_is_average_pooling():
    x = images(2, 3, 9, 4)
    assert (_pooled(x) - F.avg_pool2d(x, 5, stride=1, padding=2)).abs().max() < 1e-6


def test_a_classifier_has_features_of_fixed_width():
    network = made("classifier")
    for size in (8, 28, 32):
        assert network.features(images(2, 3, size, size)).shape == (2, network.width) == (2, 32)
    assert network(images(2, 3, 28, 28)).shape == (2, 4)


REFUSALS = {
    "no such kind": (lambda: build({"kind": "vit"}), "must be one of unet, classifier"),
    "no kind at all": (lambda: build({"channels": 1}), "not None"),
    "no such argument": (
        lambda: build({"kind": "ncsnv2", "channels": 1, "depth": 3}),
        "of kind ncsnv2 cannot be built",
    ),
    "unet without channels": (lambda: UNet(0), "channels must be an integer of at least 1"),
    "unet of an odd width": (lambda: UNet(1, width=12), "multiple of 8"),
    "unet with fewer than no classes": (lambda: UNet(1, classes=-1), "classes must be an integer of at least 0"),
    "classifier of one class": (lambda: Classifier(1, 1), "classes must be an integer of at least 2"),
    "classifier of an odd width": (lambda: Classifier(1, 2, width=12), "multiple of 8"),
    "ncsn without levels": (lambda: NCSN(1, []), "at least one noise level"),
    "ncsn with a level of 0": (lambda: NCSN(1, [1.0, 0.0]), "must be a number above 0"),
    "ncsn without patches": (lambda: NCSN(1, SIGMAS, patch=0), "patch must be an integer of at least 1"),
    "ncsnv2 with one channel within": (lambda: NCSNv2(1, width=1), "width must be an integer of at least 2"),
}


@pytest.mark.parametrize("case", sorted(REFUSALS))
def test_refusals_when_it_is_made(case):
    make, sentence = REFUSALS[case]
    with pytest.raises(ParameterError, match=sentence) as caught:
        make()
    one_sentence(caught.value)


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_refusals_when_it_is_asked(kind):
    network, x, sigma = made(kind), images(2, 3, 16, 16), torch.ones(2)
    cases = [(lambda: said(network, x[:, :1]), "shape"), (lambda: said(network, x[0]), "shape")]
    if kind != "classifier":
        told = (x[..., :6],) if kind == "parallel" else ()
        cases.append((lambda: network(x[..., :6], sigma, *told), "must be multiples of 4"))
    if kind == "unet":
        sized = made("unet", size=32, classes=0)
        cases += [
            (lambda: sized(x, sigma), "32 x 32 pixels"),
            (lambda: sized(images(2, 3, 32, 32), sigma, torch.tensor([0, 1])), "knows no classes"),
            (lambda: network(x, sigma, torch.tensor([0])), "one whole-number class per image"),
            (lambda: network(x, sigma, torch.tensor([0.0, 1.0])), "one whole-number class per image"),
        ]
    if kind.startswith("ncsn"):
        cases += [
            (lambda: network(x, torch.ones(1)), "one noise level per image"),
            (lambda: network(x, torch.tensor(1.0)), "one noise level per image"),
            (lambda: network(x, sigma, torch.tensor([0, 1])), "knows no classes"),
        ]
    for ask, sentence in cases:
        with pytest.raises(ShapeError, match=sentence) as caught:
            ask()
        one_sentence(caught.value)


def one_sentence(error):
    assert isinstance(error, UserError)
    assert "\n" not in str(error) and str(error).endswith(".")
