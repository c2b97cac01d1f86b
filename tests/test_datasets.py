"""Readers of image-quality datasets: tiny made-up trees in the published layouts, and the real images at hand."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ASSETS, needs
from tests.test_imports import loaded_after
from torchmetrics_fmiqa.data.dataset_reader import FolderListing
from torchmetrics_fmiqa.data.datasets import DATASETS, read_dataset
from torchmetrics_fmiqa.data.images import match_sizes, read_image
from torchmetrics_fmiqa.data.rated_csv import RatedPairs, read_rated_csv


def image(path: Path, value: int = 100, size: tuple[int, int] = (16, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def rows(rated: RatedPairs) -> list[tuple[Any, ...]]:
    """Everything about the pairs, their paths below the dataset's folder."""
    pairs = zip(rated.as_pairs(), rated.pairs, strict=True)
    return [(short.ref, short.dist, one.opinion, one.type, one.level, one.std) for short, one in pairs]


def problems(read: Any) -> dict[str, str]:
    return {Path(one.name).as_posix(): one.reason for one in read.missing}


# TID ------------------------------------------------------------------------------------------------------------------


def tid(root: Path) -> Path:
    image(root / "reference_images" / "I01.BMP")
    image(root / "reference_images" / "i25.bmp")
    image(root / "distorted_images" / "i01_01_1.bmp")
    image(root / "distorted_images" / "I01_17_4.BMP")
    image(root / "distorted_images" / "i25_08_2.bmp")
    text(root / "mos_with_names.txt", "5.51429 I01_01_1.bmp", "3.25 i01_17_4.bmp", "4.125 I25_08_2.bmp")
    text(root / "mos_std.txt", "0.13013", "0.2", "0.3")
    return root


@pytest.mark.parametrize("name", ["tid2013", "tid2008"])
def test_tid_with_names_in_other_cases(tmp_path, name):
    rated = read_dataset(name, tid(tmp_path))
    assert rows(rated) == [
        ("reference_images/I01.BMP", "distorted_images/i01_01_1.bmp", 5.51429, "Additive Gaussian noise", 1, 0.13013),
        ("reference_images/I01.BMP", "distorted_images/I01_17_4.BMP", 3.25, "Contrast change", 4, 0.2),
        ("reference_images/i25.bmp", "distorted_images/i25_08_2.bmp", 4.125, "Gaussian blur", 2, 0.3),
    ]
    assert (rated.name, rated.higher_is_better, rated.direction, rated.missing) == (name, True, "dataset", ())
    assert rated.reference_ids == (0, 0, 1)
    assert rated.types == ("Additive Gaussian noise", "Contrast change", "Gaussian blur")


def test_tid_lists_what_is_missing(tmp_path):
    root = tid(tmp_path)
    (root / "reference_images" / "I01.BMP").unlink()
    (root / "distorted_images" / "I01_17_4.BMP").unlink()
    (root / "mos_std.txt").unlink()
    rated = read_dataset("TID-2013", root)
    assert [(row[1], row[-1]) for row in rows(rated)] == [("distorted_images/i25_08_2.bmp", None)]
    assert problems(rated) == {
        "reference_images/I01.BMP": "there is no such file (the reference of 2 pairs)",
        "distorted_images/i01_17_4.bmp": "there is no such file",
    }


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("5.1", "line 2 .*mos_with_names.txt': a line is an opinion and a file name, got '5.1'"),
        ("five I01_01_2.bmp", "line 2 .*`mos` must be a finite number, got 'five'"),
        ("nan I01_01_2.bmp", "line 2 .*`mos` must be a finite number, got 'nan'"),
        ("5.1 I01-01-2.bmp", "line 2 .*a name is as I01_24_5.bmp, got 'I01-01-2.bmp'"),
        ("5.1 I01_18_2.bmp", "line 2 .*tid2008 has types 1 to 17 and levels 1 to 4, got 'I01_18_2.bmp'"),
        ("5.1 I01_01_1.bmp", "line 2 .*has the images of line 1 .*I01_01_1.bmp against I01.BMP"),
    ],
)
def test_tid_names_the_broken_line(tmp_path, line, error):
    root = tid(tmp_path)
    text(root / "mos_with_names.txt", "5 I01_01_1.bmp", line, "5 I25_08_2.bmp")
    with pytest.raises(ValueError, match=error):
        read_dataset("tid2008", root)


def test_tid_wants_as_many_deviations_as_opinions(tmp_path):
    root = tid(tmp_path)
    text(root / "mos_std.txt", "0.1", "0.2")
    with pytest.raises(ValueError, match=r"has 2 lines and .* 3"):
        read_dataset("tid2013", root)


def test_the_wrong_folder(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        read_dataset("tid2013", tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has no mos_with_names\.txt: give the folder of tid2013 that has it"):
        read_dataset("tid2013", tmp_path)
    text(tmp_path / "mos_with_names.txt", "5 I01_01_1.bmp", "4 I01_01_2.bmp")
    with pytest.raises(ValueError, match=r"names 2 pairs, and no pair's images are there: .*reference_images.I01\.BMP"):
        read_dataset("tid2013", tmp_path)
    text(tmp_path / "mos_with_names.txt", "")
    with pytest.raises(ValueError, match="has no rows"):
        read_dataset("tid2013", tmp_path)
    (tmp_path / "mos_with_names.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="as text"):
        read_dataset("tid2013", tmp_path)


# LIVE -----------------------------------------------------------------------------------------------------------------

COUNTS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}


def live(root: Path, **changes: Any) -> Path:
    """The tables of all 982 images; files only of each type's first five and of two references."""
    savemat = pytest.importorskip("scipy.io").savemat
    total = sum(COUNTS.values())
    names = np.array(["bikes.bmp", "woman.bmp"] * (total // 2), dtype=object)[None]
    orgs = np.zeros((1, total), np.uint8)
    orgs[0, 1], orgs[0, 230] = 1, 1  # jp2k/img2.bmp and jpeg/img4.bmp
    dmos = np.arange(total, dtype=np.float64)[None] / 10
    for file in ("bikes.bmp", "woman.bmp"):
        image(root / "refimgs" / file)
    for folder in COUNTS:
        for number in range(1, 6):
            image(root / folder / f"img{number}.bmp")
    savemat(str(root / "refnames_all.mat"), {"refnames_all": names})
    savemat(str(root / "dmos.mat"), {"dmos": dmos, "orgs": orgs, **changes})
    savemat(str(root / "dmos_realigned.mat"), {"dmos_new": dmos + 1, "orgs": orgs, "dmos_std": dmos / 2})
    return root


def test_live_counts_on_through_the_folders(tmp_path):
    rated = read_dataset("live", live(tmp_path))
    assert (rated.higher_is_better, rated.direction, rated.undistorted) == (False, "dataset", 2)
    found = {row[1]: row for row in rows(rated)}
    assert len(found) == 25 - 2
    assert found["jp2k/img1.bmp"] == ("refimgs/bikes.bmp", "jp2k/img1.bmp", 0.0, "jp2k", None, None)
    assert found["jpeg/img1.bmp"][:4] == ("refimgs/woman.bmp", "jpeg/img1.bmp", 22.7, "jpeg")
    assert found["wn/img1.bmp"][2] == 46.0
    assert found["gblur/img5.bmp"][2] == 63.8
    assert found["fastfading/img5.bmp"][2] == 81.2
    assert not {"jp2k/img2.bmp", "jpeg/img4.bmp"} & (found.keys() | problems(rated).keys())
    assert len(rated.missing) == 982 - 25
    assert problems(rated)["fastfading/img174.bmp"] == "there is no such file"


def test_live_realigned_has_deviations(tmp_path):
    first = read_dataset("live", live(tmp_path), realigned=True).pairs[1]
    assert (first.opinion, first.std) == (1.2, 0.1)


def test_live_says_what_is_wrong_with_its_tables(tmp_path, monkeypatch):
    root = live(tmp_path, dmos=np.zeros((1, 779)))
    with pytest.raises(ValueError, match=r"`dmos` of .*dmos.mat' has 779 entries, and LIVE Release 2 has 982 images"):
        read_dataset("live", root)
    (root / "dmos.mat").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=r"cannot read .*dmos\.mat"):
        read_dataset("live", root)
    (root / "dmos.mat").unlink()
    with pytest.raises(ValueError, match=r"has no dmos\.mat"):
        read_dataset("live", root)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scipy"):
        read_dataset("live", root, realigned=True)


# CSIQ -----------------------------------------------------------------------------------------------------------------

SHEET = [
    (1600.0, 1, "noise", 1, 0.061, 0.062),
    (1600, 2, "jpeg", 5, 0.1, 0.687),
    ("aerial_city", 3, "jpeg 2000", 2, 0.02, 0.11),
    ("aerial_city", 4, "fnoise", 3, 0.03, 0.2),
    ("aerial_city", 5, "blur", 4, 0.04, 0.5),
    ("aerial_city", 6, "contrast", 1, 0.05, 0.03),
]
TITLES = ("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos")
CSIQ_FILES = [
    "awgn/1600.AWGN.1.png",
    "jpeg/1600.JPEG.5.png",
    "jpeg2000/aerial_city.jpeg2000.2.png",
    "fnoise/aerial_city.fnoise.3.png",
    "blur/aerial_city.BLUR.4.png",
    "contrast/aerial_city.contrast.1.png",
]


def csiq(root: Path, flat: bool = False) -> Path:
    for name in ("1600", "aerial_city"):
        image(root / "src_imgs" / f"{name}.png")
    for file in CSIQ_FILES:
        image(root / "dst_imgs" / (Path(file).name if flat else file))
    return root


@pytest.mark.parametrize(("separator", "titles"), [(",", True), ("\t", False), (" ", False), (";", True)])
def test_csiq_from_a_text_table(tmp_path, separator, titles):
    lines = [[str(int(cell)) if isinstance(cell, float) and cell > 1 else str(cell) for cell in row] for row in SHEET]
    text(csiq(tmp_path) / "csiq.DMOS.txt", *(separator.join(line) for line in [TITLES] * titles + lines))
    rated = read_dataset("csiq", tmp_path)
    assert [row[1] for row in rows(rated)] == [f"dst_imgs/{file}" for file in CSIQ_FILES]
    assert rows(rated)[0] == ("src_imgs/1600.png", "dst_imgs/awgn/1600.AWGN.1.png", 0.062, "awgn", 1, 0.061)
    assert (rated.higher_is_better, rated.direction, rated.missing) == (False, "dataset", ())


def test_csiq_from_its_sheet(tmp_path, monkeypatch):
    """The sheet begins some rows down and some columns in, and is padded."""
    (csiq(tmp_path, flat=True) / "csiq.DMOS.xlsx").write_bytes(b"")
    (tmp_path / "dst_imgs" / "1600.JPEG.5.png").unlink()
    empty = (None,) * 9
    cells = [empty, ("all", *empty[1:]), ((None,) * 3 + TITLES), *((None,) * 3 + row for row in SHEET), empty]
    sheet = SimpleNamespace(iter_rows=lambda values_only: iter(cells))
    books = {"all_by_image": sheet}
    monkeypatch.setitem(sys.modules, "openpyxl", SimpleNamespace(load_workbook=lambda path, **options: books))
    rated = read_dataset("csiq", tmp_path)
    assert [row[1] for row in rows(rated)][:2] == [
        "dst_imgs/1600.AWGN.1.png",
        "dst_imgs/aerial_city.jpeg2000.2.png",
    ]
    assert problems(rated) == {"dst_imgs/1600.JPEG.5.png": "there is no such file"}
    cells[5] = (*cells[5][:8], None)
    with pytest.raises(ValueError, match=r"row 6 of .*xlsx': `dmos` must be a finite number, got None"):
        read_dataset("csiq", tmp_path)
    del cells[2]
    with pytest.raises(ValueError, match="has no row of titles image, dst_idx"):
        read_dataset("csiq", tmp_path)
    books.clear()
    with pytest.raises(ValueError, match="cannot read the sheet all_by_image"):
        read_dataset("csiq", tmp_path)


def test_csiq_without_openpyxl(tmp_path, monkeypatch):
    (csiq(tmp_path) / "csiq.DMOS.xlsx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ModuleNotFoundError, match=r"`pip install openpyxl` to read it, or save .* as csiq\.DMOS\.csv"):
        read_dataset("csiq", tmp_path)


def test_a_real_spreadsheet(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.create_sheet("all_by_image")
    for row in [(), (), (None, None, None, *TITLES), *((None, None, None, *row) for row in SHEET)]:
        sheet.append(row)
    book.save(csiq(tmp_path) / "csiq.DMOS.xlsx")
    assert [row[1] for row in rows(read_dataset("csiq", tmp_path))] == [f"dst_imgs/{file}" for file in CSIQ_FILES]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("1600,1,noise,1,0.06", "line 1 .*a line is image, dst_idx"),
        ("1600,1,fog,1,0.06,0.1", "line 1 .*`dst_type` is one of noise, blur, .*, got 'fog'"),
        ("1600,1,noise,one,0.06,0.1", "line 1 .*`dst_lev` must be a finite number, got 'one'"),
        ("image,dmos,dst_type,dst_lev,dmos_std,dst_idx", "line 1 .*the columns are image, dst_idx"),
        ("../1600,1,noise,1,0.06,0.1", "line 1 .*`image` is a name"),
    ],
)
def test_csiq_names_the_broken_line(tmp_path, line, error):
    text(csiq(tmp_path) / "export.csv", line)
    with pytest.raises(ValueError, match=error):
        read_dataset("csiq", tmp_path, table=tmp_path / "export.csv")
    with pytest.raises(ValueError, match=r"has no csiq\.DMOS\.xlsx, and no \.csv or \.txt export"):
        read_dataset("csiq", tmp_path)


# KADID-10k ------------------------------------------------------------------------------------------------------------


def kadid(root: Path, *lines: str) -> Path:
    for file in ("I01.png", "I01_01_01.png", "I01_25_05.png"):
        image(root / "images" / file)
    text(root / "dmos.csv", "dist_img,ref_img,dmos,var", *lines)
    return root


def test_kadid_calls_dmos_what_is_better_when_higher(tmp_path):
    lines = ("I01_01_01.png,I01.png,4.57,0.496", "I01_25_05.png,I01.png,1.9,0.8", "I01_25_04.png,I01.png,2,0.8")
    rated = read_dataset("KADID-10k", kadid(tmp_path, *lines))
    assert (rated.higher_is_better, rated.direction) == (True, "dataset")
    assert rows(rated) == [
        ("images/I01.png", "images/I01_01_01.png", 4.57, "Gaussian blur", 1, 0.496),
        ("images/I01.png", "images/I01_25_05.png", 1.9, "Contrast change", 5, 0.8),
    ]
    assert problems(rated) == {"images/I01_25_04.png": "there is no such file"}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("I01_01_01.png,I01.png,4.57", "line 2 .*has 3 fields, and the table 4 columns"),
        ("I01_26_01.png,I01.png,4.57,0.4", "line 2 .*a name is as I01_25_05.png, got 'I01_26_01.png'"),
        ("I01_01_01.png,I01.png,,0.4", "line 2 .*`dmos` must be a finite number, got ''"),
    ],
)
def test_kadid_names_the_broken_line(tmp_path, line, error):
    with pytest.raises(ValueError, match=error):
        read_dataset("kadid10k", kadid(tmp_path, line))


def test_deviations_of_whole_ratings_tell_what_kadids_var_is():
    """30 whole ratings with the means of two published rows have their `var` as deviation, and not as variance."""
    for mean, published in ((4.57, 0.496), (4.33, 0.869)):
        total = round(mean * 30)
        squares = np.arange(total, 30 * 25 + 1)
        variances = squares / 30 - (total / 30) ** 2
        variances = variances[variances >= 0]
        assert np.abs(np.sqrt(variances) - published).min() < 6e-4
        assert np.abs(variances - published).min() > 6e-3


# PIPAL ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "refs", "first", "second"),
    [
        ("Train_Label", "Train_Ref", "Train_Dist", "Train_Dist"),
        ("Train_Label", "Train_Ref", "Distortion_1/Distortion_1", "Distortion_2"),
        ("training/MOS_Scores_train", "training/Reference_train", "training/Distortion/Distortion_1", "x/Distortion_4"),
    ],
)
def test_pipal_in_the_folders_of_its_copies(tmp_path, labels, refs, first, second):
    image(tmp_path / refs / "A0001.bmp")
    image(tmp_path / refs / "A0003.bmp")
    image(tmp_path / first / "A0001_00_00.bmp")
    image(tmp_path / second / "A0003_06_26.bmp")
    text(tmp_path / labels / "A0003.txt", "A0003_06_26.bmp,1520.0648", "A0003_06_25.bmp,1500")
    text(tmp_path / labels / "A0001.txt", "A0001_00_00.bmp,1414.0308")
    text(tmp_path / "Val_Label" / "A0005.txt", "A0005_00_00.bmp,1300")
    rated = read_dataset("pipal", tmp_path)
    assert rows(rated) == [
        (f"{refs}/A0001.bmp", f"{first}/A0001_00_00.bmp", 1414.0308, "00", None, None),
        (f"{refs}/A0003.bmp", f"{second}/A0003_06_26.bmp", 1520.0648, "06", None, None),
    ]
    assert (rated.higher_is_better, rated.direction) == (True, "dataset")
    assert problems(rated) == {"A0003_06_25.bmp": "there is no such file"}
    with pytest.raises(ValueError, match=r"names 1 pairs, and no pair's images"):
        read_dataset("pipal", tmp_path, split="val")
    image(tmp_path / "copy" / "A0001_00_00.bmp")
    with pytest.raises(ValueError, match=r"has A0001_00_00\.bmp twice, as .* and .*: keep one copy"):
        read_dataset("pipal", tmp_path)


def test_pipal_says_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match=r"has no label files A0001\.txt .* such as Train_Label"):
        read_dataset("pipal", tmp_path)
    with pytest.raises(ValueError, match="`split` must be 'train' or 'val', got 'test'"):
        read_dataset("pipal", tmp_path, split="test")
    text(tmp_path / "Train_Label" / "A0001.txt", "A0001_00_00.bmp,1414", "A0001_00_01.bmp 1414")
    with pytest.raises(ValueError, match=r"line 2 of .*A0001\.txt': a line is as"):
        read_dataset("pipal", tmp_path)


# Super-resolution -----------------------------------------------------------------------------------------------------


def test_qads(tmp_path):
    image(tmp_path / "source_images" / "img03.bmp")
    image(tmp_path / "super-resolved_images" / "img03_2_08.bmp")
    text(tmp_path / "mos_with_names.txt", "0.72500  img03_2_08.bmp", "0.31000  img03_4_21.bmp")
    text(tmp_path / "mos_std.txt", "0.1", "0.2")
    rated = read_dataset("qads", tmp_path)
    expected = ("source_images/img03.bmp", "super-resolved_images/img03_2_08.bmp", 0.725, "method 08", 2, 0.1)
    assert rows(rated) == [expected]
    assert (rated.higher_is_better, rated.direction) == (True, "dataset")
    assert problems(rated) == {"super-resolved_images/img03_4_21.bmp": "there is no such file"}
    text(tmp_path / "mos_with_names.txt", "0.72500  img03_2_08.bmp", "0.31000  photo.bmp")
    with pytest.raises(ValueError, match=r"line 2 .*a name is as img01_2_01\.bmp, got 'photo\.bmp'"):
        read_dataset("qads", tmp_path)


SR4K = {
    "Animal1/Animal1_Bicubic_x2.jpg": ("Bicubic", 2),
    "Animal1/Animal1_result_c_DCSCN_x2.jpg": ("DCSCN", 2),
    "Animal3/Animal3_EDSR_Lx3_f256b32_DIV2K_official.png": ("EDSR", 3),
    "Animal3/Animal3_ESRGAN_SRx4_DF2KOST_official.png": ("ESRGAN", 4),
    "Animal3/Animal3_test_vsrTransformer_x4_reds.png": ("vsrTransformer", 4),
    "Animal3/Animal3_outputs_SRGAN.png": ("SRGAN", None),
    "Animal3/DPSR_x2_03_d_01.png": ("DPSR", 2),
    "Animal1/DPSRGAN_13_m_01.png": ("DPSRGAN", None),
}


def test_sr4kiqa_finds_the_reference_by_the_folder(tmp_path):
    for name in ("Animal1", "Animal3"):
        image(tmp_path / "reference" / f"{name}_GT.jpg")
    for file in SR4K:
        image(tmp_path / file)
    text(tmp_path / "MOS.csv", *(f"{Path(file).name},0.85,4.4" for file in SR4K), "Animal3_NN_x8.jpg,0.15,1.6")
    rated = read_dataset("sr4kiqa", tmp_path)
    assert rows(rated) == [
        (f"reference/{Path(file).parts[0]}_GT.jpg", file, 4.4, *kind, None) for file, kind in SR4K.items()
    ]
    assert (rated.higher_is_better, rated.direction) == (True, "dataset")
    assert problems(rated) == {"Animal3/Animal3_NN_x8.jpg": "there is no such file"}
    image(tmp_path / "Animal1" / "DPSR_x2_03_d_01.png")
    with pytest.raises(ValueError, match=r"line 7 .*DPSR_x2_03_d_01\.png lies in Animal1 and in Animal3"):
        read_dataset("sr4kiqa", tmp_path)
    text(tmp_path / "MOS.csv", "Animal1_Bicubic_x2.jpg,0.85")
    with pytest.raises(ValueError, match=r"line 1 .*a line is a file name and two opinions"):
        read_dataset("sr4kiqa", tmp_path)


# BAPPS ----------------------------------------------------------------------------------------------------------------


def share(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.asarray(value, np.float32))


@pytest.mark.parametrize("above", ["2afc", "dataset/2afc", "."])
def test_bapps_triplets(tmp_path, above):
    for part in ("cnn", "traditional"):
        home = tmp_path / above / "val" / part
        for number in range(3):
            for column in ("ref", "p0", "p1"):
                image(home / column / f"{number:06}.png")
            share(home / "judge" / f"{number:06}.npy", [number / 2])
    cnn = tmp_path / above / "val" / "cnn"
    (cnn / "p1" / "000001.png").unlink()
    (cnn / "judge" / "000002.npy").write_bytes(b"no array")
    (cnn / "ref" / "Thumbs.db").write_bytes(b"")
    np.save(tmp_path / above / "val" / "traditional" / "judge" / "000003.npy", np.array("half"))
    for column in ("ref", "p0", "p1"):
        image(tmp_path / above / "val" / "traditional" / column / "000003.png")
    read = read_dataset("bapps_2afc", tmp_path)
    assert [(one.type, one.judge) for one in read.triplets] == [
        ("cnn", 0.0),
        ("traditional", 0.0),
        ("traditional", 0.5),
        ("traditional", 1.0),
    ]
    assert read.triplets[2].p1 == tmp_path / above / "val" / "traditional" / "p1" / "000001.png"
    assert len(read) == 4
    assert problems(read)["cnn/p1/000001.png"] == "there is no such file"
    assert problems(read)["cnn/judge/000002.npy"].startswith("cannot be read")
    assert problems(read)["traditional/judge/000003.npy"].endswith("'half'")
    assert len(read.missing) == 3
    assert len(read_dataset("bapps_2afc", tmp_path, types=["cnn"])) == 1
    with pytest.raises(ValueError, match="has no part 'superres'; it has cnn, traditional"):
        read_dataset("bapps_2afc", tmp_path, types=["superres"])
    with pytest.raises(ValueError, match=r"there is no folder .*train"):
        read_dataset("bapps_2afc", tmp_path, split="train")


def test_bapps_noticeable_differences(tmp_path):
    home = tmp_path / "jnd" / "val" / "cnn"
    for number, same in enumerate([0.0, 2 / 3, 1.5]):
        for column in ("p0", "p1"):
            image(home / column / f"{number:06}.png")
        share(home / "same" / f"{number:06}.npy", same)
    read = read_dataset("bapps-jnd", tmp_path)
    assert [one.same for one in read.pairs] == pytest.approx([0.0, 2 / 3])
    assert read.pairs[1].p0 == home / "p0" / "000001.png"
    assert (len(read), read.pairs[0].type) == (2, "cnn")
    assert problems(read)["cnn/same/000002.npy"] == "holds no single share in [0, 1]: 1.5"
    with pytest.raises(ValueError, match=r"there is no folder .*cnn.*judge|there is no folder .*2afc"):
        read_dataset("bapps_2afc", tmp_path)
    for path in (home / "p0").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"nothing in .* is complete: cnn.p0.000000\.png: there is no such file"):
        read_dataset("bapps_jnd", tmp_path)


# A table of one's own -------------------------------------------------------------------------------------------------


def table(root: Path, *lines: str, name: str = "pairs.csv") -> Path:
    image(root / "a.png")
    for file in ("x.png", "y.png", "sub/Z.PNG"):
        image(root / file)
    return text(root / name, *lines)


def test_a_table_with_all_its_columns(tmp_path):
    path = table(tmp_path, "Ref,dist,note,MOS,type,level,std", "a.png,x.png,-,3.5,blur,2,0.5", "a.png,sub/z.png,-,1,,,")
    rated = read_rated_csv(path)
    assert rows(rated) == [("a.png", "x.png", 3.5, "blur", 2, 0.5), ("a.png", "sub/Z.PNG", 1, "", None, None)]
    assert (rated.name, rated.higher_is_better, rated.direction) == (tmp_path.name, True, "column")
    assert rated.select([1]).pairs == rated.pairs[1:]


@pytest.mark.parametrize(
    ("column", "options", "better", "direction"),
    [
        ("mos", {}, True, "column"),
        ("dmos", {}, False, "column"),
        ("mos_norm", {"opinion": "mos_norm"}, True, "column"),
        ("raw_dmos", {"opinion": "raw_DMOS"}, False, "column"),
        ("elo", {"opinion": "elo"}, None, "unknown"),
        ("almost", {"opinion": "almost"}, None, "unknown"),
        ("elo", {"opinion": "elo", "opinion_is": "better"}, True, "flag"),
        ("mos", {"opinion_is": "worse"}, False, "flag"),
        ("dmos", {"opinion_is": "better"}, True, "flag"),
    ],
)
def test_the_direction_of_opinion(tmp_path, column, options, better, direction):
    rated = read_rated_csv(table(tmp_path, f"ref,dist,{column}", "a.png,x.png,3"), **options)
    assert (rated.higher_is_better, rated.direction, rated.pairs[0].opinion) == (better, direction, 3)


@pytest.mark.parametrize(
    ("lines", "options", "error"),
    [
        (
            ["ref,dist,score", "a.png,x.png,1"],
            {},
            r"has no column `mos` or `dmos`.*opinion\)*; it has ref, dist, score",
        ),
        (["ref,dist,mos,dmos", "a.png,x.png,1,2"], {}, "has the columns `mos` and `dmos`: name the one"),
        (["ref,dist,mos", "a.png,x.png,1"], {"opinion": "elo"}, "has no column `elo`; it has ref, dist, mos"),
        (["ref,dist,mos", "a.png,x.png,1"], {"opinion_is": "good"}, "`opinion_is` must be 'better' or 'worse'"),
        (["ref,image,mos", "a.png,x.png,1"], {}, "has no column `dist`"),
        (["ref,dist,mos", "a.png,x.png,1", "a.png,y.png,"], {}, "line 3 .*`mos` must be a finite number, got ''"),
        (["ref,dist,mos", "a.png,x.png,1", ",y.png,2"], {}, "line 3 .*lacks `ref` or `dist`"),
        (["ref,dist,mos", "a.png,x.png,1", "a.png,y.png"], {}, "line 3 .*has 2 fields, and the table 3 columns"),
        (["ref,dist,mos", "a.png,x.png,1", "", "a.png,x.png,2"], {}, "line 4 .*has the images of line 2"),
        (["ref,dist,mos,std", "a.png,x.png,1,-1"], {}, "line 2 .*`std` must not be negative, got -1"),
        (["ref,dist,mos,level", "a.png,x.png,1,high"], {}, "line 2 .*`level` must be a finite number, got 'high'"),
        (["ref,dist,mos"], {}, "has no rows"),
        (["ref,dist,mos", "a.png,gone.png,1"], {}, "names 1 pairs, and no pair's images are there: .*gone.png"),
    ],
)
def test_a_table_that_cannot_be_read(tmp_path, lines, options, error):
    path = table(tmp_path, *lines)
    with pytest.raises(ValueError, match=error):
        read_rated_csv(path, **options)


def test_a_table_elsewhere(tmp_path):
    image(tmp_path / "images" / "a.png")
    image(tmp_path / "images" / "x.png")
    away = image(tmp_path / "away" / "y.png")
    path = text(
        tmp_path / "tables" / "t.csv",
        "ref,dist,mos",
        "a.png,x.png,1",
        f"a.png,{away},2",
        f"a.png,{away.parent}/z.png,3",
    )
    rated = read_rated_csv(path, root=tmp_path / "images", name="mine")
    assert [(row[0], row[1]) for row in rows(rated)] == [("a.png", "x.png"), ("a.png", str(away))]
    assert (rated.name, problems(rated)) == ("mine", {f"{away.parent}/z.png": "there is no such file"})
    for options in ({}, {"root": tmp_path / "nowhere"}):
        with pytest.raises(ValueError, match=r"no pair's images|there is no folder"):
            read_rated_csv(path if options else text(tmp_path / "t.csv", "ref,dist,mos", "a.png,x.png,1"), **options)
    with pytest.raises(ValueError, match="there is no table"):
        read_rated_csv(tmp_path / "none.csv")


# What all share -------------------------------------------------------------------------------------------------------


def test_broken_images_are_found_by_decoding_them(tmp_path):
    path = table(tmp_path, "ref,dist,mos", "a.png,x.png,1", "a.png,y.png,2", "sub/Z.PNG,x.png,3")
    (tmp_path / "y.png").write_bytes((tmp_path / "y.png").read_bytes()[:40])
    (tmp_path / "sub" / "Z.PNG").write_bytes(b"")
    rated = read_rated_csv(path)
    assert len(rated) == 3
    checked = rated.verified()
    assert checked.pairs == rated.pairs[:1]
    found = problems(checked)
    assert set(found) == {"y.png", "sub/Z.PNG"}
    assert "cannot read the image" in found["y.png"]
    assert found["sub/Z.PNG"].endswith("(the reference of 1 pair)")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no pair of .* can be read: cannot read the image"):
        rated.verified()


def test_a_folder_is_listed_once(tmp_path, monkeypatch):
    import os

    listed: list[Path] = []
    plain = os.listdir
    monkeypatch.setattr("os.listdir", lambda path: listed.append(Path(path)) or plain(path))
    read_dataset("tid2013", tid(tmp_path))
    assert sorted(path.name for path in listed if path != tmp_path) == ["distorted_images", "reference_images"]


def test_a_name_as_it_is_written_comes_first(tmp_path):
    for name in ("a.png", "B.png"):
        image(tmp_path / "Deep" / name)
    image(tmp_path / "Deep" / "A.png")
    if len(list((tmp_path / "Deep").iterdir())) < 3:
        pytest.skip("this file system knows no case")
    listing = FolderListing()
    assert listing.find(tmp_path / "Deep" / "A.png") == tmp_path / "Deep" / "A.png"
    assert listing.find(tmp_path / "deep" / "b.PNG") == tmp_path / "Deep" / "B.png"
    assert listing.find(tmp_path / "Deep" / "a.PNG") is None  # two names differ in case only
    assert listing.find(tmp_path / "none" / "a.png") is None
    assert listing.names(tmp_path / "deep") == ["A.png", "B.png", "a.png"]


def test_readers_load_only_what_they_need():
    heavy = {"lightning", "scipy", "openpyxl", "pandas", "timm"}
    assert not loaded_after("from torchmetrics_fmiqa.data.datasets import read_dataset") & heavy


def test_every_reader_names_its_folder(tmp_path):
    for name in DATASETS:
        with pytest.raises(ValueError, match="nowhere"):
            read_dataset(name, tmp_path / "nowhere")


# The real ones --------------------------------------------------------------------------------------------------------


def test_the_real_live_pairs():
    rated = read_rated_csv(needs(ASSETS / "iqa" / "live58" / "pairs.csv"))
    assert (len(rated), len(rated.references), rated.missing) == (58, 5, ())
    assert (rated.name, rated.higher_is_better, rated.types) == ("live58", False, ("gblur", "jpeg", "wn"))
    assert rated.verified().missing == ()


def test_the_real_super_resolved_pairs():
    path = needs(ASSETS / "iqa" / "sr4kiqa_dev" / "pairs.csv")
    rated, norm = read_rated_csv(path), read_rated_csv(path, opinion="mos_norm")
    assert (len(rated), len(rated.references), rated.higher_is_better, rated.missing) == (133, 7, True, ())
    assert [pair.opinion for pair in norm.pairs] == pytest.approx([(p.opinion - 1) / 4 for p in rated.pairs], abs=0.02)


def test_the_real_super_resolved_files_in_their_own_layout(tmp_path):
    """The table as it is published, beside the real folders."""
    root = needs(ASSETS / "iqa" / "sr4kiqa_dev")
    named = read_rated_csv(root / "pairs.csv")
    for folder in root.iterdir():
        if folder.is_dir():
            (tmp_path / folder.name).symlink_to(folder)
    lines = [f"{pair.dist.name},{(pair.opinion - 1) / 4:g},{pair.opinion:g}" for pair in named.pairs]
    text(tmp_path / "MOS.csv", *lines)
    rated = read_dataset("sr4kiqa", tmp_path)
    assert [row[:3] for row in rows(rated)] == [row[:3] for row in rows(named)]
    assert set(rated.types) == {"Bicubic", "Bilinear", "NN", "NEDI", "ICBI", "DCSCN"}
    assert {pair.level for pair in rated.pairs} == {2, 3, 4, 8}


def test_real_images_of_tid():
    """Five real pairs, under the names of the published layout's references."""
    root = needs(ASSETS / "iqa" / "tid2013_calib5")
    for path in sorted((root / "ref_dir").iterdir()):
        target, preds = read_image(path), read_image(root / "dist_dir" / path.name)
        assert match_sizes(preds, target, None)[0].shape == (3, 384, 512)


def test_real_images_of_tid_in_a_table(tmp_path):
    root = needs(ASSETS / "iqa" / "tid2013_calib5")
    names = sorted(path.name for path in (root / "ref_dir").iterdir())
    path = text(tmp_path / "t.csv", "ref,dist,mos", *(f"REF_DIR/{name.lower()},dist_dir/{name},5" for name in names))
    rated = read_rated_csv(path, root=root)
    assert [pair.ref.name for pair in rated.pairs] == names
    assert rated.verified().missing == ()
