"""What the README shows works as it stands there."""

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_run(capsys):
    """They denoise: far better than the noisy image, whose error is (1 - ab) / ab."""
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 10
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert "exponent" in capsys.readouterr().out
    alpha_bar = names["alpha_bar"]
    assert (names["x0_hat"] - names["cat"]).square().mean() < 0.05 * (1 - alpha_bar) / alpha_bar


def test_its_picture_and_files_are_there():
    root = Path(__file__).resolve().parents[2]
    for name in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (root / name).is_file(), name


def test_its_make_targets_exist():
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)`|^    make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target
