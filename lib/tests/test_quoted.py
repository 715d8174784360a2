"""The papers' tables as they are quoted, and what of ours stands beside them."""

import pytest

from fewsteps.errors import DataError, ParameterError
from fewsteps.experiments import grids, quoted, slim


def test_every_table_of_the_five_papers_is_quoted():
    """TDAS-11, PDS-9: Tables 1 to 6, 1 to 3, 1 to 5, 1 to 2 and 1 to 3, each with text on what it compares."""
    numbers = {paper: {q.table.split(",")[0].rstrip("ab") for q in quoted.of(paper)} for paper in quoted.PAPERS}
    counts = {"TDAS": 6, "PDS": 3, "SD": 5, "PixelAware": 2, "ProgDDGAN": 3}
    assert numbers == {paper: {str(k) for k in range(1, count + 1)} for paper, count in counts.items()}
    for table in quoted.tables():
        assert table.about and len(table.lower) == len(table.units) == len(table.metrics)
        assert all(len(line) == len(table.columns) for line in table.lines())
        assert len({row[: len(table.keys)] for row in table.rows}) == len(table.rows), (table.paper, table.table)


def test_ratios_are_with_over_without():
    """TDAS Table 1: 38.68 over 442.82, by hand; a table of parameters has none."""
    [one] = [q for q in quoted.of("TDAS") if q.table == "1"]
    [(name, ratio)] = one.ratios()
    assert ratio == pytest.approx(38.68 / 442.82) and name == "FFHQ, 1024x1024, NCSN++, 100"
    assert len(next(q for q in quoted.of("TDAS") if q.table == "3b").ratios()) == 5
    assert len(next(q for q in quoted.of("PDS") if q.table == "3").ratios()) == 5
    assert next(q for q in quoted.of("TDAS") if q.table == "4").ratios() == []
    assert next(q for q in quoted.of("SD") if q.table == "5").ratios() == []


def test_ours_are_tables_that_can_be_made():
    """Every grid and method that is set beside a quoted table exists."""
    known = {(q.paper, q.table) for q in quoted.tables()}
    assert set(quoted.OURS) <= known and not set(quoted.OURS) & set(quoted.ELSEWHERE)
    answered = {(q.paper, q.table) for q in quoted.tables() if (q.paper, q.table) not in quoted.OURS}
    assert all(quoted.answer(q) for q in quoted.tables() if (q.paper, q.table) in answered)
    methods = {*grids.SCOREBOARD, *grids.NATIVE_VP, *grids.LANGEVIN, slim.TEACHER, slim.FEWER, *slim.COLUMNS}
    for ours in (one for several in quoted.OURS.values() for one in several):
        assert ours.grid in grids.GRIDS
        assert set(ours.methods) <= methods and set(ours.pair) <= set(ours.methods)


def test_refusals(tmp_path):
    with pytest.raises(ParameterError, match="paper must be one of TDAS, PDS, SD, PixelAware, ProgDDGAN, not 'DDPM'"):
        quoted.of("DDPM")
    with pytest.raises(DataError, match=r"data/quoted\.yaml is not there"):
        quoted.tables(tmp_path / "none.yaml")
    path = tmp_path / "quoted.yaml"
    path.write_text("- paper: X")
    with pytest.raises(DataError, match="is damaged"):
        quoted.tables(path)
    path.write_text("- {paper: X, table: 1, about: a, metric: FID, keys: [k], rows: [[1, 2, 3]]}")
    quoted.tables.cache_clear()
    with pytest.raises(DataError, match=r"X, Table 1 in data/quoted\.yaml has 2 columns, and a row of it has 3"):
        quoted.tables(path)
    quoted.tables.cache_clear()


def test_numbers_are_shown_with_the_digits_of_the_paper():
    """TDAS-11: a zero at the end is a digit that was measured."""
    shown = {cell for table in quoted.tables() for line in table.lines() for cell in line}
    assert {"27.30", "442.82"} <= shown and "27.3" not in shown
    value = next(v for table in quoted.tables() for row in table.rows for v in row if str(v) == "27.30")
    assert value == 27.3 and value / 2 == 13.65
