"""What the README shows works as it stands there."""

import re
from pathlib import Path

import torch

from fewsteps import trained

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_run(capsys):
    """They denoise: far better than the noisy image, whose error is (1 - ab) / ab."""
    code, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 10
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert "exponent" in capsys.readouterr().out
    alpha_bar = names["alpha_bar"]
    assert (names["x0_hat"] - names["cat"]).square().mean() < 0.05 * (1 - alpha_bar) / alpha_bar


def test_the_network_in_it_draws_the_digits_asked_for():
    _, code, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["images"].shape == (10, 1, 8, 8)
    said = trained.load("digits-classifier").network(names["images"]).argmax(1)
    assert int((said == torch.arange(10)).sum()) >= 7


def test_its_picture_and_files_are_there():
    root = Path(__file__).resolve().parents[2]
    for name in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (root / name).is_file(), name


def test_its_make_targets_exist():
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)`|^    make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target


def test_a_model_of_your_own_goes_the_same_way(tmp_path):
    """The published pipeline is one that was saved here."""
    from diffusers import ScoreSdeVePipeline, ScoreSdeVeScheduler, UNet2DModel

    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,)}
    network = UNet2DModel(sample_size=16, norm_num_groups=4, time_embedding_type="fourier", **blocks)
    pipe = ScoreSdeVePipeline(network, ScoreSdeVeScheduler())
    pipe.save_pretrained(tmp_path)
    *_, code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {"network": network, "pipe": pipe}
    exec(compile(code.replace("google/ncsnpp-church-256", str(tmp_path)), "README.md", "exec"), names)
    assert names["found"].shape == (3, 16, 16) and names["pipe"].scheduler.filt.acts("predictor")
    assert names["model"].schedule.steps == 1000
