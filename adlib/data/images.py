"""Image and mask files as arrays: one meaning for every kind of pixel, one error for every damaged file.

Files are read by content, not by suffix. What the pixels mean:

* 8-bit grey is repeated in three channels; 1-bit and palette pictures become the colours they show.
* 16-bit grey is scaled to 8 bits, `round(v / 257)`. Its colour key, if any, is ignored. 16-bit colour keeps
  each channel's high byte (Pillow's own reduction).
* CMYK, YCbCr and HSV become RGB.
* Alpha, colour keys and transparent palette entries are composited over black: transparent = black.
* Float and 32-bit pictures have no known range and are refused; 32-bit integers within 0..65535 pass as
  16-bit.
* Of several frames or pages the first is read.
* The orientation tag (EXIF, TIFF) is ignored on purpose: masks are drawn on the pixels as they are stored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from adlib.base.errors import UserError

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
LOSSY_FORMATS = ("JPEG", "MPO", "JPEG2000", "WEBP")
LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
LOSSY_THRESHOLD = 128
TIFF_WIDTH, TIFF_HEIGHT, TIFF_ORIENTATION = 256, 257, 274

# Pillow turns TIFF pages as their orientation tag says; these operations turn them back.
UNDO_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class ImageError(UserError):
    """A file that cannot be used as an image or a mask: names the file, what was found and what to do."""


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width in pixels, as stored, from the header alone. Raises ImageError."""
    with _opened(path) as image:
        return _stored_size(image)


def read_rgb(path: str | Path) -> np.ndarray:
    """An image as (H, W, 3) uint8; the module's docstring says what becomes of each kind of pixel.

    Raises ImageError for files that are missing, empty, damaged, of another kind or too large to decode
    safely, and for pixels without a known range.
    """
    with _opened(path) as image:
        if image.mode == "F":
            raise ImageError(
                f"{path}: float pixels have no known range; "
                "convert the picture to 8-bit or 16-bit grey, or to 8-bit RGB, first."
            )
        if image.mode.startswith("I"):
            grey = _eight_bits(_stored_pixels(image), path)
            return np.repeat(grey[:, :, None], 3, axis=2)
        if image.has_transparency_data:
            rgba = _stored_pixels(image, "RGBA").astype(np.uint16)
            # At most 255 * 255 + 127, which just fits 16 bits.
            return ((rgba[:, :, :3] * rgba[:, :, 3:] + 127) // 255).astype(np.uint8)
        return _stored_pixels(image, "RGB")


def read_mask(path: str | Path, shape: tuple[int, int]) -> np.ndarray:
    """A defect mask as (H, W) bool, True where the image is defective.

    Lossless files: every value above 0 is a defect, so class indices and faint marks count as 255 does. Lossy
    files (JPEG and its like): values from 128 on, because compression leaves traces around the edges. With
    several channels any one suffices; what is fully transparent is no defect; palette masks count by colour,
    not by index.

    `shape` is the (H, W) of the image the mask belongs to. Raises ImageError if the mask has another size,
    and in the cases of `read_rgb` that concern the file.
    """
    with _opened(path) as image:
        found = _stored_size(image)
        if found != tuple(shape):
            raise ImageError(
                f"{path}: the mask is {found[0]} x {found[1]} pixels (height x width), but its image "
                f"is {shape[0]} x {shape[1]}; pair it with its own image, or export it in the image's size."
            )
        lossy = image.format in LOSSY_FORMATS or image.info.get("compression") in LOSSY_TIFF
        lowest = LOSSY_THRESHOLD if lossy else 1
        if image.mode == "F" or image.mode.startswith("I"):
            return np.asarray(_stored_pixels(image) > 0)
        if image.has_transparency_data:
            rgba = _stored_pixels(image, "RGBA")
            return (rgba[:, :, :3] >= lowest).any(axis=2) & (rgba[:, :, 3] >= lowest)
        return np.any(_stored_pixels(image, "RGB") >= lowest, axis=2)


def picture_window(shape: tuple[int, int], size: int, keep_aspect: bool = False) -> tuple[slice, slice]:
    """Rows and columns of the (size, size) square that show the picture itself; the rest is padding.

    The whole square if `keep_aspect` is False, else the centred window of a picture scaled to fit.
    Raises ValueError unless `size` and both sides of `shape` are positive.
    """
    if size < 1 or min(shape) < 1:
        raise ValueError(f"sizes must be at least 1 pixel, got size {size} for a picture of {tuple(shape)}.")
    if not keep_aspect:
        return slice(0, size), slice(0, size)
    longest = max(shape)
    height, width = (max(1, (2 * side * size + longest) // (2 * longest)) for side in shape)
    top, left = (size - height) // 2, (size - width) // 2
    return slice(top, top + height), slice(left, left + width)


def resize_rgb(
    rgb: np.ndarray,
    size: int,
    keep_aspect: bool = False,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> np.ndarray:
    """Resize (H, W, 3) uint8 to (size, size, 3) uint8: bilinear (or as told) with antialias.

    The picture is squashed to the square. With `keep_aspect` it is scaled to fit and centred, and its border
    pixels are repeated outwards. Raises ValueError for another shape or type of array, or a size below 1.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"rgb must be (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}; read it with read_rgb.")
    rows, columns = picture_window(rgb.shape[:2], size, keep_aspect)
    fitted = (columns.stop - columns.start, rows.stop - rows.start)
    resized = np.array(Image.fromarray(rgb).resize(fitted, resample))
    return _padded(resized, rows, columns, size)


def resize_mask(mask: np.ndarray, size: int, keep_aspect: bool = False) -> np.ndarray:
    """Resize (H, W) bool to (size, size) bool by nearest neighbour, in the geometry of `resize_rgb`.

    Padding repeats the border as it does in the image: a copy of a defective pixel is labelled as that pixel
    (`picture_window` tells the padding apart). A small defect can vanish; the caller counts such images.
    Raises ValueError for another shape or type of array, or a size below 1.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"mask must be (H, W) bool, got {mask.shape} {mask.dtype}; read it with read_mask.")
    rows, columns = picture_window(mask.shape, size, keep_aspect)
    nearest_row = _nearest(mask.shape[0], rows.stop - rows.start)
    nearest_column = _nearest(mask.shape[1], columns.stop - columns.start)
    return _padded(mask[nearest_row][:, nearest_column], rows, columns, size)


def _nearest(length: int, new_length: int) -> np.ndarray:
    """The old pixel under each new pixel's centre; in integers, so that rounding decides no tie."""
    return (2 * np.arange(new_length) + 1) * length // (2 * new_length)


def _padded(picture: np.ndarray, rows: slice, columns: slice, size: int) -> np.ndarray:
    """Place (h, w) or (h, w, C) in the given window of a square and repeat its border outwards."""
    padding = [(rows.start, size - rows.stop), (columns.start, size - columns.stop)]
    return np.pad(picture, padding + [(0, 0)] * (picture.ndim - 2), mode="edge")


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong until the block ends becomes an ImageError that names the file."""
    try:
        if Path(path).stat().st_size == 0:
            raise ImageError(f"{path}: the file is empty (0 bytes); fetch or export it again.")
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path}: not an image of a known kind ({', '.join(FORMATS)}); "
            "remove it from the folder, convert it, or fetch it again if it should be one."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{path}: too many pixels to decode safely ({error}); "
            "cut it into tiles or scale it down, or remove it if it should not be that large."
        ) from error
    except OSError as error:
        if error.errno is not None:  # the file system speaks, not the decoder
            raise ImageError(
                f"{path}: cannot be opened ({error.strerror}); check the path and its rights."
            ) from error
        raise _damaged(path, error) from error
    except Exception as error:  # Pillow's decoders raise any type at all on damaged files
        raise _damaged(path, error) from error


def _damaged(path: str | Path, error: Exception) -> ImageError:
    return ImageError(
        f"{path}: damaged, truncated or of an unsupported variant ({type(error).__name__}: {error}); "
        "fetch it again or save it anew."
    )


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """(H, W) before any turning."""
    if image.format == "TIFF":
        tags = image.tag_v2  # pyright: ignore[reportAttributeAccessIssue]
        return int(tags[TIFF_HEIGHT]), int(tags[TIFF_WIDTH])
    return image.height, image.width


def _stored_pixels(image: Image.Image, mode: str | None = None) -> np.ndarray:
    """The pixels as they lie in the file, (H, W) or (H, W, C), converted to `mode` if given."""
    orientation = 1
    if image.format == "TIFF":
        # Read before loading: Pillow turns the page and drops the tag while it loads.
        orientation = image.tag_v2.get(TIFF_ORIENTATION, 1)  # pyright: ignore[reportAttributeAccessIssue]
    image.load()
    upright = image.transpose(UNDO_ORIENTATION[orientation]) if orientation in UNDO_ORIENTATION else image
    return np.array(upright.convert(mode) if mode else upright)


def _eight_bits(grey: np.ndarray, path: str | Path) -> np.ndarray:
    """16-bit grey (H, W) to uint8, `round(v / 257)`: 0 stays 0, 65535 becomes 255, and there are no ties."""
    low, high = int(grey.min()), int(grey.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"{path}: 32-bit grey values from {low} to {high}, of which only 0..65535 have a known meaning; "
            "convert the picture to 8-bit or 16-bit grey first."
        )
    return ((grey.astype(np.int64) + 128) // 257).astype(np.uint8)
