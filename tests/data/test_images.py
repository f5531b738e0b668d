"""Reading and refusing image and mask files."""

import hashlib
import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from adlib.base.files import sha256_file
from adlib.data.images import ImageError, image_size, read_mask, read_rgb

GREY = np.array([[0, 1, 127], [128, 254, 255]], np.uint8)
RGB = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 14


def save(path: Path, pixels: np.ndarray | Image.Image, **options) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    gradient = np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8)
    Image.fromarray(np.stack([gradient, 255 - gradient, gradient // 2], axis=2)).save(buffer, kind)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


# ---- read_rgb: what pixels mean


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "ppm", "gif"])
def test_eight_bit_colour_is_read_as_it_is(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    pixels = read_rgb(save(tmp_path / f"a.{suffix}", RGB, **options))
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, RGB)


def test_content_decides_and_not_the_suffix(tmp_path):
    path = save(tmp_path / "a.png", RGB)
    np.testing.assert_array_equal(read_rgb(path.rename(tmp_path / "a.JPG")), RGB)


def test_eight_bit_grey_is_repeated(tmp_path):
    np.testing.assert_array_equal(read_rgb(save(tmp_path / "a.png", GREY)), np.stack([GREY] * 3, axis=2))


@given(value=st.integers(0, 65535))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sixteen_bit_grey_is_scaled_and_rounded(tmp_path, value):
    path = save(tmp_path / "a.png", np.full((2, 3), value, np.uint16))
    assert (read_rgb(path) == round(value / 257)).all()


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
def test_sixteen_bit_tiffs_of_either_byte_order_and_small_integers_agree(tmp_path, dtype):
    values = np.array([[0, 128, 129], [257, 32768, 65535]]).astype(dtype)
    mode = {"<u2": "I;16", ">u2": "I;16B", "<i4": "I"}[dtype]
    image = Image.frombytes(mode, (3, 2), values.tobytes())
    expected = np.array([[0, 0, 1], [1, 128, 255]])
    np.testing.assert_array_equal(read_rgb(save(tmp_path / "a.tif", image))[:, :, 1], expected)


@pytest.mark.parametrize("value", [-1, 65536])
def test_thirty_two_bit_grey_out_of_range_is_refused(tmp_path, value):
    path = save(tmp_path / "deep.tif", np.full((2, 2), value, np.int32))
    with pytest.raises(ImageError, match=rf"deep\.tif: 32-bit grey values from {value} .*convert"):
        read_rgb(path)


def test_float_pixels_are_refused(tmp_path):
    path = save(tmp_path / "depth.tif", np.full((2, 2), 0.5, np.float32))
    with pytest.raises(ImageError, match=r"depth\.tif: float pixels have no known range; convert"):
        read_rgb(path)


def test_one_bit_and_palette_pictures_become_their_colours(tmp_path):
    bits = save(tmp_path / "bits.png", Image.fromarray(GREY > 127))
    np.testing.assert_array_equal(read_rgb(bits)[:, :, 0], np.where(GREY > 127, 255, 0))
    indexed = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    indexed.putpalette([9, 8, 7, 250, 100, 50, 1, 2, 3])
    pixels = read_rgb(save(tmp_path / "p.png", indexed))
    assert pixels.tolist() == [[[9, 8, 7], [250, 100, 50]], [[1, 2, 3], [250, 100, 50]]]


def test_transparency_is_composited_over_black(tmp_path):
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 128], [200, 100, 50, 0]]], np.uint8)
    expected = [[[200, 100, 50], [100, 50, 25], [0, 0, 0]]]
    assert read_rgb(save(tmp_path / "rgba.png", rgba)).tolist() == expected
    la = Image.fromarray(rgba).convert("LA")
    grey = int(np.asarray(la)[0, 0, 0])
    assert read_rgb(save(tmp_path / "la.png", la))[0, :, 2].tolist() == [grey, round(grey * 128 / 255), 0]


def test_transparent_palette_entries_and_colour_keys_are_black(tmp_path):
    indexed = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    indexed.putpalette([90, 80, 70, 250, 100, 50])
    path = save(tmp_path / "p.png", indexed, transparency=0)
    assert read_rgb(path).tolist() == [[[0, 0, 0], [250, 100, 50]]]
    path = save(tmp_path / "key.png", GREY, transparency=254)
    assert read_rgb(path)[1, :, 0].tolist() == [128, 0, 255]


def test_cmyk_becomes_rgb(tmp_path):
    cmyk = Image.fromarray(np.array([[[0, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]], np.uint8), "CMYK")
    pixels = read_rgb(save(tmp_path / "a.tif", cmyk))
    assert pixels.tolist() == [[[255, 255, 255], [255, 0, 0], [0, 0, 0]]]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_ignored(tmp_path, suffix, orientation):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8] = 255
    image = Image.fromarray(pixels)
    image.getexif()[274] = orientation
    path = save(tmp_path / f"a.{suffix}", image, exif=image.getexif())
    with Image.open(path) as image:
        assert image.getexif()[274] == orientation  # or the test shows nothing
    assert image_size(path) == (16, 32)
    assert np.abs(read_rgb(path).astype(int) - pixels).max() <= 3
    assert read_mask(path, (16, 32))[:7, :7].all()


def test_the_first_of_several_frames_is_read(tmp_path):
    pages = [Image.fromarray(np.full((4, 5), level, np.uint8)) for level in (10, 200)]
    for suffix in ("tif", "gif"):
        path = tmp_path / f"a.{suffix}"
        pages[0].save(path, save_all=True, append_images=pages[1:])
        assert (read_rgb(path) == 10).all()


# ---- refusals


@pytest.mark.parametrize("read", [read_rgb, image_size, lambda path: read_mask(path, (40, 48))])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"empty \(0 bytes\); fetch"),
        (b"%PDF-1.7 not a picture", "not an image of a known kind .*PNG.*remove it"),
        (png_header(60_000, 60_000), "too many pixels .*tiles"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, r"(damaged|not an image)"),
    ],
    ids=["empty", "other", "bomb", "garbage"],
)
def test_unusable_files_are_named(tmp_path, read, content, message):
    path = tmp_path / "odd one.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"odd one\.png: .*" + message):
        read(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
def test_truncated_files_are_refused(tmp_path, kind):
    path = tmp_path / "cut.img"
    path.write_bytes(encoded(kind)[: len(encoded(kind)) * 6 // 10])
    with pytest.raises(ImageError, match=r"cut\.img: (damaged|not an image).*again"):
        read_rgb(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere\.png: cannot be opened .*check the path"):
        read_rgb(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match=r"cannot be opened .*check the path"):
        read_rgb(tmp_path)


@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM"]))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_never_raises_anything_else(tmp_path, data, kind):
    content = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.img"
    path.write_bytes(content)
    with suppress(ImageError):
        pixels = read_rgb(path)
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3


# ---- masks


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_any_value_above_zero_is_a_defect_in_lossless_masks(tmp_path, suffix):
    mask = read_mask(save(tmp_path / f"m.{suffix}", GREY), (2, 3))
    assert mask.dtype == np.bool_
    assert mask.tolist() == (GREY > 0).tolist()


def test_lossy_masks_are_cut_at_half_range(tmp_path):
    levels = np.repeat(np.array([[0, 40, 120, 136, 255]], np.uint8), 8, axis=0).repeat(8, axis=1)
    for path in (
        save(tmp_path / "m.jpg", levels, quality=100),
        save(tmp_path / "jpeg.tif", levels, compression="jpeg", quality=100),
    ):
        assert read_mask(path, (8, 40))[4, 4::8].tolist() == [False, False, False, True, True]


def test_any_channel_counts_but_transparency_does_not(tmp_path):
    rgb = np.zeros((1, 3, 3), np.uint8)
    rgb[0, 1, 2] = 1
    assert read_mask(save(tmp_path / "rgb.png", rgb), (1, 3)).tolist() == [[False, True, False]]
    rgba = np.array([[[0, 0, 0, 255], [0, 3, 0, 255], [255, 255, 255, 0]]], np.uint8)
    assert read_mask(save(tmp_path / "rgba.png", rgba), (1, 3)).tolist() == [[False, True, False]]


def test_deep_masks_keep_their_faintest_values(tmp_path):
    values = np.array([[0, 1, 65535]])
    for name, dtype in (("m.png", np.uint16), ("i.tif", np.int32), ("f.tif", np.float32)):
        path = save(tmp_path / name, values.astype(dtype))
        assert read_mask(path, (1, 3)).tolist() == [[False, True, True]]


def test_palette_masks_count_by_colour(tmp_path):
    indexed = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    indexed.putpalette([0, 0, 0, 128, 0, 0, 0, 0, 0])
    assert read_mask(save(tmp_path / "m.png", indexed), (1, 3)).tolist() == [[False, True, False]]


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path):
    path = save(tmp_path / "m.png", GREY)
    with pytest.raises(ImageError, match=r"m\.png: the mask is 2 x 3 .* is 3 x 2; pair"):
        read_mask(path, (3, 2))


# ---- headers and hashes


def test_image_size_reads_the_header_only(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_header(7000, 5000))  # there are no pixels to decode
    assert image_size(path) == (5000, 7000)
    with pytest.raises(ImageError):
        read_rgb(path)


@given(content=st.binary(max_size=5000))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sha256_is_that_of_the_bytes(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert sha256_file(path) == hashlib.sha256(content).hexdigest()
