"""Tables as people have them: separators, marks, capitals, encodings."""

import csv
import io

import pytest

from torchmetrics_fmiqa.data.csv_dialect import csv_records, plain_csv
from torchmetrics_fmiqa.data.pairs import read_pairs
from torchmetrics_fmiqa.data.rated_csv import read_rated_csv
from torchmetrics_fmiqa.data.tables import write_table

ROWS = [["ref", "dist", "mos"], ["a.png", "b, c.png", "3.5"], ["a.png", "d.png", "-1e-2"]]
DIALECTS = {
    "commas": 'ref,dist,mos\na.png,"b, c.png",3.5\na.png,d.png,-1e-2\n',
    "spaces and capitals": 'Ref , Dist, MOS\na.png, "b, c.png", 3.5\n\na.png ,d.png, -1e-2',
    "semicolons": "ref;dist;mos\na.png;b, c.png;3.5\na.png;d.png;-1e-2\n",
    "decimal commas": "ref;dist;mos\na.png;b, c.png;3,5\na.png;d.png;-1e-2\n",
    "Excel's first line": "sep=;\nref;dist;mos\na.png;b, c.png;3,5\na.png;d.png;-1e-2\n",
    "tabs": "ref\tdist\tmos\na.png\tb, c.png\t3.5\na.png\td.png\t-1e-2\n",
    "quoted names of columns": '"ref","dist","mos"\n"a.png","b, c.png","3.5"\n"a.png","d.png","-1e-2"\n',
    "separators in a quoted name": 'ref,dist,mos,"x;y;z;w;v"\na.png,"b, c.png",3.5,\na.png,d.png,-1e-2,\n',
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("text", DIALECTS.values(), ids=DIALECTS)
def test_every_dialect_is_the_same_table(text, mark, end):
    content = (mark + text.replace("\n", end)).encode()
    found = [fields[:3] for _, fields in csv_records(content, "t.csv")]
    assert [[name.lower() for name in found[0]], *found[1:]] == ROWS
    plain = list(csv.reader(io.StringIO(plain_csv(content, "t.csv").decode(), newline="")))
    assert [[cell.strip() for cell in row[:3]] for row in plain if row] == found


def test_lines_are_counted_as_an_editor_counts_them():
    content = b'sep=;\n\nref;dist\n\na;"b\nc"\nd;e\n'
    assert [line for line, _ in csv_records(content, "t.csv")] == [3, 6, 7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ref,dist\na,b\n".encode("utf-16"), "'t.csv' is text in UTF-16: save it as CSV in UTF-8"),
        ("ref,dist\na,b\n".encode("utf-16-le"), "zero bytes, as UTF-16 and binary files do"),
        (b"ref,dist\n" + b"x" * 200_000, "line 2: field larger"),
    ],
)
def test_what_is_no_csv_in_utf8_is_named(content, message):
    with pytest.raises(ValueError, match=message):
        list(csv_records(content, "t.csv"))


def test_pairs_and_opinions_are_read_from_any_of_them(tmp_path):
    for name in ("a.png", "b, c.png", "d.png"):
        (tmp_path / name).write_bytes(b"")
    for number, text in enumerate(DIALECTS.values()):
        table = tmp_path / f"{number}.csv"
        table.write_text(text)
        assert [(pair.ref, pair.dist) for pair in read_pairs(table)] == [("a.png", "b, c.png"), ("a.png", "d.png")]
        assert [pair.opinion for pair in read_rated_csv(table).pairs] == [3.5, -0.01]


def test_a_table_of_ours_comes_back_with_the_names_of_files_as_they_are(tmp_path):
    names = ["=1+1.png", "-a.png", "'=b.png", "@c.png", "caf\udce9.png", "ü;.png"]
    write_table(tmp_path / "t.csv", [{"ref": name, "dist": name} for name in names], ["ref", "dist"])
    assert [pair.ref_path.name for pair in read_pairs(tmp_path / "t.csv")] == names
    (tmp_path / "raw.csv").write_bytes(b"ref,dist\ncaf\xe9.png,x\n")
    assert read_pairs(tmp_path / "raw.csv")[0].ref == "caf\udce9.png"


def test_two_columns_of_one_name_are_refused_but_not_empty_ones(tmp_path):
    (tmp_path / "t.csv").write_text("Ref,ref,dist\na,b,c\n")
    with pytest.raises(ValueError, match="two columns `ref`"):
        read_pairs(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("ref,dist,,\na,b,,\n")
    assert len(read_pairs(tmp_path / "t.csv")) == 1
