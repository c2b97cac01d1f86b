"""Image files: every container is read by one rule, at its depth, as viewers turn it, or refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps

from torchmetrics_fmiqa.data.depth import avif_bits, jpegxl_bits
from torchmetrics_fmiqa.data.images import image_size, read_image

tifffile = pytest.importorskip("tifffile")

SIZE = (20, 28)  # (H, W), different sides, so that a turned image shows
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,  # a viewer turns it back
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def noise(bits=8, channels=3, seed=0):
    """Values of all bits, ``(H, W, C)``, or ``(H, W)`` for no channels."""
    shape = (*SIZE, channels) if channels else SIZE
    dtype = np.uint8 if bits <= 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 1 << bits, shape).astype(dtype)


def smooth():
    """A picture that a lossy codec keeps to a few grey values."""
    rows, cols = np.indices(SIZE)
    return np.stack([4 * rows, 5 * cols, 2 * (rows + cols)], 2).astype(np.uint8)


def read(path, to_rgb=True):
    """An image file as ``(H, W, 3)``."""
    return read_image(path, to_rgb).permute(1, 2, 0).numpy()


def grey3(values):
    """Grey as RGB."""
    return np.repeat(values[..., None], 3, 2)


def opaque(values):
    """With an opaque alpha channel."""
    return np.dstack([values, np.full(SIZE, np.iinfo(values.dtype).max, values.dtype)])


def png(path, values, bits, clear=None, orientation=None):
    """A PNG of any depth, with a transparent colour (tRNS) and an orientation (eXIf) if given."""
    channels = 1 if values.ndim == 2 else values.shape[2]
    stored = values.astype(">u2" if bits == 16 else np.uint8).reshape(SIZE[0], -1)
    rows = b"".join(b"\0" + row.tobytes() for row in stored)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], bits, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    more = b"" if clear is None else chunk(b"tRNS", np.atleast_1d(clear).astype(">u2").tobytes())
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        more += chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


# --- Depth ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [{}, {"compression": "zlib"}, {"tile": (16, 16)}], ids=["raw", "zlib", "tiled"])
def test_a_tiff_keeps_its_bits_in_every_kind(bits, order, packed, tmp_path):
    path, rgb, grey = tmp_path / "a.tif", noise(bits), noise(bits, 0)
    for values, photometric, expected in (
        (rgb, "rgb", rgb),
        (opaque(rgb), "rgb", rgb),
        (grey, "minisblack", grey3(grey)),
        (grey, "miniswhite", grey3(np.iinfo(grey.dtype).max - grey)),
    ):
        tifffile.imwrite(path, values, photometric=photometric, byteorder=order, **packed)
        if (photometric, bits, order) == ("miniswhite", 16, ">"):
            with pytest.raises(ValueError, match="broken, or no image of a format"):
                read(path)
            continue
        found = read(path)
        assert found.dtype == values.dtype
        assert np.array_equal(found, expected)


def test_a_tiff_whose_channels_lie_apart_is_read_at_8_bits_and_refused_at_16(tmp_path):
    for bits, packed in ((8, None), (16, None), (16, "zlib")):
        planes, path = noise(bits).transpose(2, 0, 1).copy(), tmp_path / f"{bits}{packed}.tif"
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", compression=packed)
        if bits == 8:
            assert np.array_equal(read(path), planes.transpose(1, 2, 0))
        else:
            with pytest.raises(ValueError, match="16 bits a channel, each channel on its own"):
                read(path)


@pytest.mark.parametrize("channels", [0, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_keeps_its_bits_in_every_kind(bits, channels, tmp_path):
    values = noise(bits, channels)
    if channels in (2, 4):
        values[..., -1] = np.iinfo(values.dtype).max
    colour = values if channels == 3 else values[..., :3] if channels == 4 else grey3(values.reshape(*SIZE, -1)[..., 0])
    assert np.array_equal(read(png(tmp_path / "a.png", values, bits)), colour)


@pytest.mark.parametrize("plain", [False, True], ids=["binary", "ascii"])
@pytest.mark.parametrize("largest", [100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("channels", [0, 3], ids=["pgm", "ppm"])
def test_netpbm_is_scaled_by_its_largest_value(plain, largest, channels, tmp_path):
    values = noise(16, channels).astype(int) % (largest + 1)
    full = 255 if largest < 256 else 65535
    magic = b"P%d" % ((3 if channels else 2) if plain else (6 if channels else 5))
    body = b" ".join(b"%d" % value for value in values.ravel())
    if not plain:
        body = values.astype(np.uint8 if full == 255 else ">u2").tobytes()
    path = tmp_path / "a.pnm"
    path.write_bytes(magic + b"\n# a comment\n%d %d\n%d\n" % (SIZE[1], SIZE[0], largest) + body)
    found = read(path)
    expected = np.floor(values * full / largest + 0.5).astype(np.uint8 if full == 255 else np.uint16)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected if channels else grey3(expected))
    path.write_bytes(path.read_bytes()[:-3])
    if not plain:
        with pytest.raises(ValueError, match="truncated"):
            read(path)


@pytest.mark.parametrize("kind", ["png", "tif", "bmp", "gif", "pbm"])
def test_one_bit_is_black_and_white(kind, tmp_path):
    values = noise(1, 0) * 255
    Image.fromarray(values).convert("1").save(tmp_path / f"a.{kind}")
    assert np.array_equal(read(tmp_path / f"a.{kind}"), grey3(values))


def tiff12(path, values):
    """A grey TIFF of 12 bits, two values in three bytes."""
    first, second = values[:, 0::2].astype(int), values[:, 1::2].astype(int)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 2).astype(np.uint8).tobytes()
    tags = {256: SIZE[1], 257: SIZE[0], 258: 12, 259: 1, 262: 1, 273: 200, 277: 1, 278: SIZE[0], 279: len(packed)}
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    path.write_bytes(head.ljust(200, b"\0") + packed)


def test_grey_of_12_bits_is_as_bright_as_it_is(tmp_path):
    values = noise(12, 0)
    values[0, :2] = 0, 4095
    tiff12(tmp_path / "a.tif", values)
    assert np.array_equal(read(tmp_path / "a.tif"), grey3(np.floor(values * (65535 / 4095) + 0.5).astype(np.uint16)))


@pytest.mark.parametrize("how", [{}, {"compression": "tiff_lzw"}])
def test_grey_of_16_bits_from_pillow(how, tmp_path):
    values = noise(16, 0)
    for kind in ("tif", "png", "jp2"):
        Image.fromarray(values).save(tmp_path / f"a.{kind}", **(how if kind == "tif" else {}))
        assert np.array_equal(read(tmp_path / f"a.{kind}"), grey3(values))


# --- Colour --------------------------------------------------------------------------------------------------------


def test_every_lossless_container_gives_the_same_values(tmp_path):
    values, alpha = noise(), opaque(noise())
    for kind in ("png", "tif", "bmp", "ppm", "tga", "qoi", "webp", "jp2"):
        path = tmp_path / f"a.{kind}"
        Image.fromarray(values).save(path, lossless=True)
        assert np.array_equal(read(path, to_rgb=False), values), kind
        if kind not in ("bmp", "ppm", "webp"):
            Image.fromarray(alpha).save(path)
            with pytest.raises(ValueError, match="is RGB with alpha"):
                read(path, to_rgb=False)
            assert np.array_equal(read(path), values), kind


def test_colours_are_known_by_their_mode_and_not_by_the_number_of_channels(tmp_path):
    picture = Image.fromarray(smooth())
    lab = ImageCms.createProfile("LAB")
    palette = picture.quantize(40)
    made = {
        "ycbcr.tif": (picture.convert("YCbCr"), picture, 4, ""),
        "lab.tif": (
            ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), lab, outputMode="LAB"),
            picture,
            24,
            "Lab",
        ),
        "pa.tif": (palette.convert("PA"), palette.convert("RGB"), 0, "RGB with alpha"),
        "p.gif": (palette, palette.convert("RGB"), 0, ""),
        "p.tif": (palette, palette.convert("RGB"), 0, ""),
    }
    inks = opaque(255 - smooth())
    inks[..., 3] = 30
    cmyk = Image.fromarray(inks, "CMYK")
    made |= {"cmyk.tif": (cmyk, cmyk.convert("RGB"), 0, "CMYK"), "cmyk.jpg": (cmyk, cmyk.convert("RGB"), 12, "CMYK")}
    if int(PIL.__version__.partition(".")[0]) < 13:
        made.pop("ycbcr.tif", None)  # older ones write what they cannot read
    for name, (stored, expected, tolerance, refused) in made.items():
        stored.save(tmp_path / name, **({"quality": 100, "subsampling": 0} if name.endswith("jpg") else {}))
        off = np.abs(read(tmp_path / name).astype(int) - np.asarray(expected)).max()
        assert off <= tolerance, name
        if refused:
            with pytest.raises(ValueError, match=f"is {refused}"):
                read(tmp_path / name, to_rgb=False)
        else:
            read(tmp_path / name, to_rgb=False)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour_is_an_alpha_channel(bits, tmp_path):
    for channels in (0, 3):
        values = noise(bits, channels)
        values[values == 7] = 8
        there, absent = values[3, 4], np.full(channels or 1, 7)
        path = png(tmp_path / "a.png", values, bits, clear=absent)
        assert np.array_equal(read(path), values if channels else grey3(values))
        with pytest.raises(ValueError, match="with alpha: save"):
            read(path, to_rgb=False)
        with pytest.raises(ValueError, match="not opaque"):
            read(png(tmp_path / "a.png", values, bits, clear=there))
    palette = Image.fromarray(smooth()).quantize(20)
    palette.save(tmp_path / "p.png", transparency=palette.getpixel((0, 0)))
    with pytest.raises(ValueError, match="RGB with alpha and not opaque"):
        read(tmp_path / "p.png")


def test_what_is_not_read_is_refused_by_its_true_name(tmp_path):
    grey, frames = noise(16, 0), [Image.fromarray(noise(seed=seed)) for seed in (0, 1)]
    tifffile.imwrite(tmp_path / "float.tif", grey.astype(np.float32))
    tifffile.imwrite(tmp_path / "signed.tif", (grey // 2).astype(np.int16))
    tifffile.imwrite(tmp_path / "signed8.tif", grey.astype(np.int8))
    tifffile.imwrite(tmp_path / "wide.tif", grey.astype(np.uint32))
    tifffile.imwrite(tmp_path / "cmyk16.tif", noise(16, 4), photometric="separated")
    for bits in (8, 16):
        tifffile.imwrite(
            tmp_path / f"x{bits}.tif", opaque(noise(bits)), photometric="rgb", extrasamples=["unspecified"]
        )
    tifffile.imwrite(tmp_path / "associated.tif", opaque(noise(16)), photometric="rgb", extrasamples=["assocalpha"])
    (tmp_path / "a.pfm").write_bytes(b"Pf\n28 20\n-1.0\n" + grey.astype("<f4").tobytes())
    for kind in ("png", "gif", "webp", "tif", "avif"):
        frames[0].save(tmp_path / f"frames.{kind}", save_all=True, append_images=frames[1:])
    (tmp_path / "text.png").write_text("no image")
    reasons = {
        "float.tif": "floating-point",
        "a.pfm": "floating-point",
        "signed.tif": "signed integers of 16 bits",
        "signed8.tif": "signed integers of 8 bits",
        "wide.tif": "integers of 32 bits",
        "cmyk16.tif": "CMYK of 16 bits",
        "x8.tif": "channel of unknown meaning",
        "x16.tif": "channel of unknown meaning",
        "associated.tif": "RGBa of 16 bits",
        "text.png": "it is broken, or no image",
        **{f"frames.{kind}": "it holds 2 frames" for kind in ("png", "gif", "webp", "tif", "avif")},
    }
    for name, reason in reasons.items():
        with pytest.raises(ValueError, match=reason) as refused:
            read(tmp_path / name)
        assert name in str(refused.value)
        assert "\n" not in str(refused.value)


def test_depth_that_the_decoder_would_cut_is_refused(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.jp2")
    content = bytearray((tmp_path / "a.jp2").read_bytes())
    content[content.find(b"\xff\x4f\xff\x51") + 42] = 11
    (tmp_path / "a.jp2").write_bytes(content)
    with pytest.raises(ValueError, match="12 bits a channel"):
        read(tmp_path / "a.jp2")
    assert [avif_bits(b"....av1C\x81\x20" + bytes([flags, 0])) for flags in (0, 0x40, 0x60)] == [8, 10, 12]
    assert jpegxl_bits(bytes.fromhex("ff0a89f09350b40800130800")) == 16


# --- Orientation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", TURNS)
def test_orientation_is_applied_to_every_container_alike(orientation, tmp_path):
    upright = smooth()
    turned = Image.fromarray(upright).transpose(TURNS[orientation])
    for name in ("a.png", "a.tif", "lzw.tif", "a.webp", "a.jpg", "a.avif"):
        path, exif = tmp_path / name, Image.Exif()
        exif[0x0112] = orientation
        how = {"compression": "tiff_lzw"} if name == "lzw.tif" else {} if name == "a.tif" else {"quality": 100}
        turned.save(path, exif=exif, **how)
        shown = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        found = read(path, to_rgb=False)
        assert found.shape == upright.shape == shown.shape, name
        assert np.array_equal(found, shown), name
        assert np.abs(found.astype(int) - upright).max() < 12, name
        assert image_size(path) == SIZE, name


def test_orientation_is_applied_at_16_bits_too(tmp_path):
    for channels in (0, 2, 3):
        values = noise(16, channels)
        if channels == 2:
            values[..., 1] = 65535
        found = read(png(tmp_path / "a.png", values, 16, orientation=3))
        colour = values if channels == 3 else grey3(values.reshape(*SIZE, -1)[..., 0])
        assert np.array_equal(found, colour[::-1, ::-1])


# --- Broken files --------------------------------------------------------------------------------------------------


def write_all(folder):
    """One picture in each container."""
    picture = Image.fromarray(smooth())
    for kind in ("png", "jpg", "webp", "bmp", "tif", "ppm", "avif", "jp2", "tga", "qoi", "gif"):
        picture.save(folder / f"a.{kind}")
    picture.save(folder / "lzw.tif", compression="tiff_lzw")
    return sorted(folder.iterdir())


def test_a_cut_file_is_refused_in_every_container(tmp_path):
    for path in write_all(tmp_path):
        content = path.read_bytes()
        for share in (0, 0.02, 0.3, 0.6, 0.95):
            path.write_bytes(content[: int(share * len(content))])
            with pytest.raises(ValueError, match="cannot read the image"):
                read(path)


def test_any_flipped_byte_is_an_error_or_an_image_and_a_png_never_another(tmp_path):
    random = np.random.default_rng(0)
    for path in write_all(tmp_path):
        content = path.read_bytes()
        for _ in range(12):
            broken = bytearray(content)
            broken[random.integers(len(content))] ^= 1 << int(random.integers(8))
            path.write_bytes(broken)
            try:
                found = read(path)
            except ValueError:
                continue
            assert path.suffix != ".png" or np.array_equal(found, smooth())  # what was hit holds no pixels


def test_a_broken_filter_in_a_png_is_an_error(tmp_path):
    """The decoder of torchvision ends the process for it."""
    path = png(tmp_path / "a.png", noise(), 8)
    rows = b"".join(b"\x09" + bytes(3 * SIZE[1]) for _ in range(SIZE[0]))
    content, stored = path.read_bytes(), zlib.compress(rows)
    start = content.index(b"IDAT")
    chunk = b"IDAT" + stored
    body = struct.pack(">I", len(stored)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content[: start - 4] + body + content[-12:])
    with pytest.raises(ValueError, match="cannot read the image"):
        read(path)


def test_an_image_that_claims_to_be_huge_is_an_error(tmp_path):
    path = png(tmp_path / "a.png", noise(), 8)
    content = bytearray(path.read_bytes())
    for side, reason in ((60_000, "megapixels"), (0, "pixels|broken")):
        content[16:24] = struct.pack(">II", side, side)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        path.write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            read(path)


def test_pillow_set_to_read_cut_files_is_told(tmp_path, monkeypatch):
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.warns(UserWarning, match="LOAD_TRUNCATED_IMAGES"):
        read(tmp_path / "a.png")


# --- Plugins -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "module"), [("heic", "pillow_heif"), ("jxl", "pillow_jxl")])
def test_plugins_are_found_when_they_are_installed(kind, module, tmp_path):
    plugin = pytest.importorskip(module)
    path: Path = tmp_path / f"a.{kind}"
    read_image(png(tmp_path / "a.png", noise(), 8))  # registers
    assert plugin is not None
    Image.fromarray(smooth()).save(path, quality=90)
    assert np.abs(read(path, to_rgb=False).astype(int) - smooth()).max() < 24


def test_a_plugin_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("torchmetrics_fmiqa.data.formats._load", lambda plugin: False)
    for kind, plugin in (("heic", "pillow-heif"), ("jxl", "pillow-jxl-plugin")):
        (tmp_path / f"a.{kind}").write_bytes(b"\0" * 40)
        with pytest.raises(ValueError, match=f"pip install {plugin}"):
            read(tmp_path / f"a.{kind}")
