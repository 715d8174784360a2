"""Tables in data/results: what is written is what is read, whole or not at all, with no more digits than it has."""

import json

import numpy as np
import pytest
import torch

from fewsteps import results
from fewsteps.errors import DataError


def test_a_table_comes_back_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    rows = [{"method": "one", "value": 0.1}, {"method": "two", "value": None}]
    results.write(tmp_path / "some.json", 'python tools/some.py "a"', rows, real=[1.5, 2])
    assert results.read("some") == {"made_by": 'python tools/some.py "a"', "real": [1.5, 2], "rows": rows}
    assert len((tmp_path / "some.json").read_text().splitlines()) == len(rows) + 2  # a line each, for who compares them
    with pytest.raises(TypeError):
        results.write(tmp_path / "some.json", "python tools/some.py", [{"value": object()}])
    assert results.read("some")["rows"] == rows and [path.name for path in tmp_path.iterdir()] == ["some.json"]
    (tmp_path / "some.json").write_text(json.dumps({"rows": rows}))
    with pytest.raises(DataError, match="damaged"):
        results.read("some")


def test_four_digits_are_kept():
    given = {
        "a": 1234567.0,
        "b": [0.000123456, 7, "x", None, True],
        "c": torch.tensor([[1 / 3]]),
        "d": np.float64(2 / 3),
    }
    assert results.rounded(given) == {
        "a": 1235000.0,
        "b": [0.0001235, 7, "x", None, True],
        "c": [[0.3333]],
        "d": 0.6667,
    }
