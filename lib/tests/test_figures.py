"""Static figures: what stands where nothing can be shown yet, and how many pictures otherwise."""

from __future__ import annotations

import pytest
import torch

from fewsteps import figures


@pytest.fixture
def made(monkeypatch):
    """Figures that were made, shown without a screen and closed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    monkeypatch.setattr(plt, "show", lambda: None)
    yield lambda: [plt.figure(k) for k in plt.get_fignums()]
    plt.close("all")


def test_pictures_or_a_sentence(made, capsys):
    figures.shown({}, "Nothing yet.")
    assert capsys.readouterr().out == "Nothing yet.\n" and made() == []
    rows = {"first": torch.rand(3, 1, 4, 4), "second": torch.rand(3, 1, 4, 4)}
    figures.shown(rows, "Nothing yet.", ["a", "b", "c"])
    figures.shown(rows, "Nothing yet.")
    large, small = made()
    assert capsys.readouterr().out == ""
    assert len(large.axes) == 6 and [axis.get_title() for axis in large.axes[:3]] == ["a", "b", "c"]
    assert [large.axes[k].get_ylabel() for k in (0, 3)] == ["first", "second"]
    assert len(small.axes) == 2 and [axis.get_ylabel() for axis in small.axes] == ["first", "second"]
    with pytest.raises(ValueError, match="zip"):
        figures.shown(rows, "Nothing yet.", ["a", "b"])
