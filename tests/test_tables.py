"""Tables of results: every name comes back from each format, and no cell is a formula."""

import csv
import json

import pytest
from pyarrow import parquet

from torchmetrics_fmiqa.data.tables import csv_text, text_of_csv, write_table

FORMULAS = ["=1+1", "+cmd", "-lead.png", "@sum", "\tx", "\rx", " =1", "＝1", "'=1", "''-x"]
PLAIN = ["a.png", "a=b", "'tis", "1.5", "-0.25", "1e-3", "", "ü", "10%"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_in_csv_is_a_formula_and_it_can_be_undone(text):
    cell = csv_text(text)
    assert cell == f"'{text}"
    assert text_of_csv(cell) == text


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_and_numbers_stay(text):
    assert csv_text(text) == text
    assert text_of_csv(text) == text


def test_names_and_numbers_come_back_from_every_format(tmp_path):
    rows = [{"name": name, "=x": -value} for value, name in enumerate([*FORMULAS, *PLAIN, "caf\udce9"])]
    for ending in ("csv", "json", "parquet"):
        write_table(tmp_path / f"t.{ending}", rows, ["name", "=x"])
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        head, *cells = csv.reader(file)
    assert head == ["name", "'=x"]
    assert [text_of_csv(name) for name, _ in cells] == [row["name"] for row in rows]
    assert [value for _, value in cells] == [str(row["=x"]) for row in rows]
    for table in (
        json.loads((tmp_path / "t.json").read_text()),
        parquet.read_table(tmp_path / "t.parquet").to_pylist(),
    ):
        assert [row["name"] for row in table] == [*FORMULAS, *PLAIN, "caf\\udce9"]
        assert [row["=x"] for row in table] == [row["=x"] for row in rows]


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_a_full_disk_is_a_value_error_that_names_the_table(tmp_path, ending):
    full = tmp_path / f"full.{ending}"
    full.symlink_to("/dev/full")
    with pytest.raises(ValueError, match=rf"cannot write '.*full\.{ending}': No space left"):
        write_table(full, [{"a": 1}], ["a"])


def test_a_table_in_json_is_json_where_a_number_is_not_finite(tmp_path):
    write_table(tmp_path / "t.json", [{"a": float("nan"), "b": float("inf"), "c": 0.5}], ["a", "b", "c"])
    table = json.loads((tmp_path / "t.json").read_text(), parse_constant=pytest.fail)
    assert table == [{"a": None, "b": None, "c": 0.5}]
