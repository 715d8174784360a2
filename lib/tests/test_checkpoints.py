"""Weights and cards: whole or refused; and that the right adapter is put around what a card describes."""

import json

import pytest
import torch

from fewsteps import checkpoints, denoisers, errors, networks, schedules, trained
from fewsteps.files import write_together

DESCRIBED = {
    "name": "small",
    "network": {"kind": "unet", "channels": 1, "width": 8, "multipliers": [1], "blocks": 1, "attention": [], "size": 4},
    "predicts": {"kind": "edm", "mean": 0.25, "std": 0.5},
    "data": {"name": "digits", "size": 4},
}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    checkpoints.save(tmp_path, DESCRIBED, networks.build(DESCRIBED["network"]).state_dict())
    return tmp_path


def test_weights_come_back_rounded_to_half_precision(folder):
    torch.manual_seed(0)
    before = networks.build(DESCRIBED["network"]).state_dict()
    card, after = checkpoints.load("small", folder)
    assert card["weights"]["bytes"] == (folder / "small.safetensors").stat().st_size
    for name, value in before.items():
        assert torch.equal(after[name], value.half().float())


def test_an_unknown_name_lists_those_there_are(folder):
    with pytest.raises(errors.CheckpointError, match="'large': there are small"):
        checkpoints.load("large", folder)
    with pytest.raises(errors.CheckpointError, match="fewsteps train makes one"):
        checkpoints.load("large", folder / "nothing")


@pytest.mark.parametrize("at", [10, 5000, -1])
def test_one_altered_byte_is_noticed(folder, at):
    path = folder / "small.safetensors"
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(errors.CheckpointError, match="not the file that its card describes"):
        checkpoints.load("small", folder)


def test_missing_weights_and_damaged_cards_are_refused(folder):
    card = folder / "small.json"
    text = card.read_text()
    card.write_text(text[:-30])
    with pytest.raises(errors.CheckpointError, match="damaged"):
        checkpoints.load("small", folder)
    card.write_text(json.dumps({"name": "small"}))
    with pytest.raises(errors.CheckpointError, match="damaged"):
        checkpoints.card("small", folder)
    card.write_text(text)
    (folder / "small.safetensors").unlink()
    with pytest.raises(errors.CheckpointError, match="missing beside its card"):
        checkpoints.load("small", folder)
    assert checkpoints.names(folder) == []


def test_weights_of_another_network_are_refused(folder):
    card = json.loads((folder / "small.json").read_text())
    card["network"]["width"] = 16
    (folder / "small.json").write_text(json.dumps(card))
    with pytest.raises(errors.CheckpointError, match="do not fit the network"):
        trained.load("small", folder)


def test_weights_that_half_precision_cannot_hold_are_not_kept(tmp_path):
    with pytest.raises(errors.CheckpointError, match="not finite in half precision"):
        checkpoints.save(tmp_path, DESCRIBED, {"weight": torch.tensor([1e6])})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(errors.CheckpointError, match="predicts is missing"):
        checkpoints.save(tmp_path, {"name": "x", "network": {}, "data": {}}, {})


def test_recording_keeps_the_weights_and_the_rest_of_the_card(folder):
    before = checkpoints.load("small", folder)
    checkpoints.record("small", folder, {"measured": {"accuracy": 1.0}})
    card, weights = checkpoints.load("small", folder)
    assert card == before[0] | {"measured": {"accuracy": 1.0}}
    assert all(torch.equal(weights[name], before[1][name]) for name in weights)
    checkpoints.record("small", folder, {"measured": {"recall": 0.5}, "unfinished": "so far"})
    again = before[0] | {"measured": {"recall": 0.5}, "unfinished": "so far"}  # the key is replaced, not merged
    assert checkpoints.card("small", folder) == again


def test_files_that_belong_together_change_together_or_not_at_all(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    write_together({first: "old", second: b"old"})
    with pytest.raises(UnicodeEncodeError):  # when the first one is written aside already
        write_together({first: "new", second: "\ud800"})
    assert first.read_text() == second.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == [first, second]
    write_together({first: b"new", second: "newer"})
    assert (first.read_text(), second.read_text()) == ("new", "newer")
    assert sorted(tmp_path.iterdir()) == [first, second]


class TestAdapters:
    """Every kind of prediction, with networks whose right answer is known."""

    def made(self, kind, **said):
        card = DESCRIBED | {"predicts": {"kind": kind} | said}
        return trained.Trained(card, torch.nn.Identity())

    def test_one_edm_network_is_the_same_denoiser_under_every_schedule(self, folder):
        """An image and its noise level, expressed in VE's units or in VP's, are denoised to the same image."""
        model = trained.load("small", folder)
        torch.nn.init.normal_(model.network.outward.weight, generator=torch.Generator().manual_seed(1))
        x0 = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(2))
        noise = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(3))
        found = []
        for schedule in (schedules.VE(), schedules.VPLinear(), schedules.VPCosine()):
            low, high = trained.span(schedule)
            level = 0.5 * (high - low)  # the same noise beside the data, in the units of this schedule
            t = schedule.time(level)
            x = schedule.alpha(t) * (trained.from_images(x0, schedule) + level * noise)
            mean = model.denoiser(schedule).mean(x.float(), float(t))
            found.append((mean - low) / (high - low))
        torch.testing.assert_close(found[0], found[2], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)

    def test_eps_networks_are_told_the_level_and_want_a_vp_schedule(self):
        seen = []
        model = self.made("eps")
        object.__setattr__(model, "network", lambda x, t: seen.append(t) or 0 * x)
        schedule = schedules.VPLinear()
        mean = model.denoiser().mean(torch.ones(1, 1, 4, 4), 0.5)
        alpha, sigma = float(schedule.alpha(0.5)), float(schedule.sigma(0.5))
        assert float(mean[0, 0, 0, 0]) == pytest.approx(1 / alpha)
        assert float(seen[0]) == pytest.approx(torch.tensor(sigma / alpha).log().item() / 4)
        with pytest.raises(errors.ParameterError, match="VP schedule"):
            model.denoiser(schedules.VE())

    def test_score_networks_are_told_sigma_and_want_a_ve_schedule(self):
        model = self.made("score", sigmas=[1.0, 0.1, 0.01])
        object.__setattr__(model, "network", lambda x, t: -x / (1 + t**2)[:, None, None, None])
        made = model.denoiser()
        assert made.schedule == schedules.VE(0.01, 1.0)
        assert float(made.mean(torch.ones(1, 1, 4, 4), 1.0)[0, 0, 0, 0]) == pytest.approx(0.5)
        with pytest.raises(errors.ParameterError, match="VE schedule"):
            model.denoiser(schedules.VPLinear())

    def test_classifiers_denoise_nothing(self):
        with pytest.raises(errors.ParameterError, match="classifier"):
            self.made("class").denoiser()

    def test_spans(self):
        assert trained.span(schedules.VE()) == (0, 1)
        assert trained.span(schedules.VPCosine()) == (-1, 1)
        x = torch.tensor([-1.0, 0.0, 1.0, 3.0])
        assert trained.to_images(x, schedules.VPLinear()).tolist() == [0, 0.5, 1, 1]
        assert isinstance(denoisers.FromEDM(lambda x, t: x, schedules.VE()), denoisers.Denoiser)
