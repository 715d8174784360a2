"""A network that is told words, or any embedding: SD-11."""

import pytest
import torch
from torch.nn import functional as F

from fewsteps import checkpoints, trained
from fewsteps.data import load
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.experiments.sampling import Plan, draw
from fewsteps.networks import UNet, Worded, spell
from fewsteps.networks.unet import _Listening
from fewsteps.training import RECIPES, train

TOLD = {"channels": 1, "width": 16, "multipliers": [1, 2], "blocks": 1, "patch": 1, "context": 12}
PHRASES = ["a zero", "a one", "something else"]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def worded():
    torch.manual_seed(0)
    network = Worded(**TOLD, phrases=PHRASES, classes=3)
    for k, weight in enumerate(network.parameters()):  # so that no branch is silent for want of training
        weight.data.add_(0.1 * drawn(*weight.shape, seed=k))
    return network


def test_attention_to_what_is_told_is_the_plain_loop():
    """SD-11: softmax(q k / sqrt(d)) v, one position and one head at a time, in double precision."""
    layer = _Listening(64, 5).double()
    torch.nn.init.normal_(layer.outward.weight, generator=torch.Generator().manual_seed(1))
    x, told = drawn(2, 64, 2, 3).double(), drawn(2, 4, 5, seed=2).double()
    got = layer(x, told)
    assert layer.heads == 2
    q, kv = layer.asking(layer.norm(x)), layer.told(told)
    for b in range(2):
        for i in range(2):
            for j in range(3):
                heard = []
                for h in range(2):
                    query = q[b, 32 * h : 32 * (h + 1), i, j]
                    keys, values = (kv[b, :, 64 * part + 32 * h : 64 * part + 32 * (h + 1)] for part in (0, 1))
                    heard.append(torch.softmax(keys @ query / 32**0.5, 0) @ values)
                wanted = x[b, :, i, j] + layer.outward.weight[:, :, 0, 0] @ torch.cat(heard)
                torch.testing.assert_close(got[b, :, i, j], wanted)


def test_a_phrase_is_its_embedding_and_none_says_nothing(worded):
    """SD-11: the number of a phrase, its words, and any (B, L, D) come to the same network."""
    x, times = drawn(3, 1, 8, 8), torch.tensor([0.1, 0.2, 0.3])
    by_number = worded(x, times, torch.tensor([1, 0, -1]))
    told = torch.cat((spell(["A one!", "a zero"], 12, 4), torch.zeros(1, 4, 12)))
    torch.testing.assert_close(by_number, worded(x, times, told))
    torch.testing.assert_close(worded(x, times)[2], by_number[2])
    torch.testing.assert_close(worded(x, times, torch.zeros(3, 9, 12)), worded(x, times))
    padded = worded(x, times, torch.cat((told, torch.zeros(3, 5, 12)), dim=1))
    torch.testing.assert_close(padded, by_number)  # words that are missing take no attention from those that are there
    assert float((by_number - worded(x, times)).detach()[0].abs().max()) > 1e-3
    longer = worded(x, times, drawn(3, 7, 12, seed=4))
    assert longer.shape == x.shape and float((longer - by_number).detach().abs().max()) > 1e-3


def test_words_are_near_where_their_letters_are():
    cat, cats, dog = spell(["cat", "Cats", "dog"], 64, 1)[:, 0]
    assert float(F.cosine_similarity(cat, cats, dim=0)) > 0.3 > abs(float(F.cosine_similarity(cat, dog, dim=0)))
    assert torch.equal(spell(["a b c d e"], 8, 3), spell(["a b c"], 8, 3))
    assert float(spell(["one two"], 8, 3)[0, 2].abs().max()) == 0


def test_it_is_trained_guided_and_loaded_like_any_network(tmp_path):
    """SD-10, SD-11: shipped without its table, which is made again from the phrases."""
    phrases = [f"the digit {name}" for name in "zero one two three four five six seven eight nine".split()]
    recipe = RECIPES["digits"].__class__(
        **{field: getattr(RECIPES["digits"], field) for field in RECIPES["digits"].__dataclass_fields__}
        | {
            "name": "digits-worded",
            "network": {"kind": "worded", **TOLD, "phrases": phrases, "classes": 10},
        }
    )
    assert RECIPES["cifar10-worded"].conditional and recipe.conditional and not RECIPES["mnist-ncsn"].conditional
    train(recipe, tmp_path, steps=3, images=load("digits", "train", 8), half=False)
    assert checkpoints.card("digits-worded", tmp_path)["network"]["classes"] == 10
    model = trained.load("digits-worded", tmp_path)
    made = draw(model, Plan("digits-worded", nfe=4, count=3, labels="each", guidance=2.0))
    assert made.images.shape == (3, 1, 8, 8) and made.nfe == 4 and made.labels is not None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: UNet(1, classes=3, context=4), "hears a context needs attention, and no classes"),
        (lambda: UNet(1, attention=(), context=4), "hears a context needs attention"),
        (lambda: Worded(**TOLD, phrases=PHRASES, classes=4), "phrases must name 4 classes, not 3"),
        (lambda: Worded(1, phrases=PHRASES, classes=3, context=0), "context must be"),
        (lambda: spell(["..."], 8, 2), "a text must have a word"),
        (lambda: spell(["a"], 0, 2), "width must be"),
    ],
)
def test_what_cannot_be_built_is_said(call, words):
    with pytest.raises(ParameterError, match=words):
        call()


@pytest.mark.parametrize(
    ("cond", "words"),
    [
        (torch.zeros(2, 3, 11), r"vectors of width 12 for every image, \(2, L, 12\), not \(2, 3, 11\)"),
        (torch.zeros(3, 3, 12), "vectors of width 12"),
        (torch.zeros(2, 12), "vectors of width 12"),
        (torch.zeros(3, dtype=torch.long), "one phrase per image, 2"),
    ],
)
def test_an_embedding_that_does_not_fit_is_said(worded, cond, words):
    with pytest.raises(ShapeError, match=words):
        worded(torch.zeros(2, 1, 8, 8), torch.zeros(2), cond)
