"""Files that somebody else named are opened only where they are regular files."""

import os
import socket

import pytest

from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.opening import check_file, file_digest, open_file, read_bytes, read_text
from torchmetrics_fmiqa.data.pairs import read_pairs
from torchmetrics_fmiqa.data.rated_csv import read_rated_csv
from torchmetrics_fmiqa.features.weights import parse_weights
from torchmetrics_fmiqa.recipes import Recipe
from torchmetrics_fmiqa.spips_model.checkpoint import recipe_of

ODD = {
    "folder": "is a folder",
    "pipe": "is a named pipe",
    "socket": "is a socket",
    "device": "is a device",
    "dangling": "is a link to 'nowhere', which is not there",
    "loop": "cannot be read: too many levels",
    "absent": "there is no",
    "x" * 300: "cannot be read: file name too long",
    "nul\0": "cannot be read: embedded null",
}


@pytest.fixture
def odd(tmp_path):
    """A folder with one of each thing that is no file."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(tmp_path)  # the path of a socket has at most some 100 characters
    server.bind("socket")
    os.chdir(here)
    yield tmp_path
    server.close()


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize(
    "read", [check_file, open_file, read_bytes, read_text, file_digest, read_image, read_pairs, read_rated_csv]
)
def test_what_is_no_file_is_never_opened_and_named(odd, name, read):
    with pytest.raises(ValueError, match=ODD[name]):
        read(odd / name)


@pytest.mark.parametrize(
    ("read", "ending"), [(Recipe.from_yaml, ".yaml"), (recipe_of, ".safetensors"), (parse_weights, ".pth")]
)
def test_recipes_heads_and_weights_are_not_read_from_a_pipe(tmp_path, read, ending):
    path = tmp_path / f"pipe{ending}"
    os.mkfifo(path)
    with pytest.raises(ValueError, match="named pipe"):
        read(str(path))


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    path.write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read anything
    with pytest.raises(ValueError, match=r"secret\.png' cannot be read: permission denied"):
        read_image(path)


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes("\ufeffone\r\ntwo".encode())
    (tmp_path / "link").symlink_to("a")
    assert read_text(tmp_path / "link") == "one\ntwo"
    assert file_digest(tmp_path / "link") == file_digest(tmp_path / "a")
