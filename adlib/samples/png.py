"""A PNG encoder whose bytes depend on the pixels alone.

The generated samples are identified by the hash of their files, and a compression library may pack the same
pixels differently from one release or platform to the next (zlib and zlib-ng differ at equal levels). So
the deflate stream is built here: one block with dynamic Huffman codes (RFC 1951, 3.2.7), whose only back
reference is a run of 258 equal bytes. For noisy textures that packs as tightly as zlib does.
"""

import heapq
import struct
import zlib

import numpy as np

RUN = 258
END_OF_BLOCK, RUN_OF_258 = 256, 285  # symbols of RFC 1951, 3.2.5
LENGTH_CODE_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
GREY, PALETTE = 0, 3  # PNG colour types


def encode_png(pixels: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """An 8-bit PNG file of (H, W) uint8 pixels: grey, or indices into `palette`, (N <= 256, 3) uint8 RGB.

    Raises ValueError for other shapes or types, and for pixels that the palette does not reach.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise ValueError(f"pixels must be a non-empty (H, W) uint8, got {pixels.shape} {pixels.dtype}.")
    if palette is not None and (palette.dtype != np.uint8 or palette.ndim != 2 or palette.shape[1] != 3):
        raise ValueError(f"palette must be (N, 3) uint8, got {palette.shape} {palette.dtype}.")
    if palette is not None and not int(pixels.max()) < len(palette) <= 256:
        raise ValueError(f"palette must have {int(pixels.max()) + 1} to 256 colours, got {len(palette)}.")
    height, width = pixels.shape
    kind = GREY if palette is None else PALETTE
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    colours = b"" if palette is None else _chunk(b"PLTE", palette.tobytes())
    data = _zlib_stream(_filtered(pixels))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + colours
        + _chunk(b"IDAT", data)
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _filtered(pixels: np.ndarray) -> bytes:
    """Each row under the PNG filter (0 none, 1 sub, 2 up, 3 average, 4 Paeth) with the smallest residuals."""
    x = pixels.astype(np.int64)
    left, up = np.zeros_like(x), np.zeros_like(x)
    left[:, 1:], up[1:] = x[:, :-1], x[:-1]
    corner = np.zeros_like(x)
    corner[1:, 1:] = x[:-1, :-1]
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    paeth = np.where(
        (to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner)
    )
    predictions = (np.zeros_like(x), left, up, (left + up) // 2, paeth)
    residuals = np.stack([(x - prediction).astype(np.uint8) for prediction in predictions])
    best = abs(residuals.view(np.int8).astype(np.int64)).sum(axis=2).argmin(axis=0)
    rows = np.arange(len(x))
    return np.concatenate([best[:, None].astype(np.uint8), residuals[best, rows]], axis=1).tobytes()


def _zlib_stream(data: bytes) -> bytes:
    """`data` as a zlib stream (RFC 1950) of one deflate block."""
    symbols = _symbols(np.frombuffer(data, np.uint8))
    lengths = _code_lengths(np.bincount(symbols, minlength=RUN_OF_258 + 1), longest=15)
    codes = _canonical_codes(lengths)
    # A run at distance 1 is symbol 285 followed by the only distance code, one bit that is 0.
    widths = lengths + (np.arange(len(lengths)) == RUN_OF_258)
    body = _packed(codes[symbols], widths[symbols])
    bits = np.concatenate([_block_header(lengths), body])
    return (
        b"\x78\xda" + np.packbits(bits, bitorder="little").tobytes() + struct.pack(">I", zlib.adler32(data))
    )


def _symbols(data: np.ndarray) -> np.ndarray:
    """Literal bytes, with every 258 further repetitions of a byte as one symbol, and the end of the block."""
    starts = np.flatnonzero(np.diff(data.astype(np.int64), prepend=-1))
    counts = np.diff(starts, append=len(data))
    runs, singles = (counts - 1) // RUN, 1 + (counts - 1) % RUN
    # For each stretch of equal bytes: its literals, then its runs.
    values = np.stack([data[starts].astype(np.int64), np.full(len(starts), RUN_OF_258)], axis=1)
    repeated = np.repeat(values.ravel(), np.stack([singles, runs], axis=1).ravel())
    return np.append(repeated, END_OF_BLOCK)


def _code_lengths(counts: np.ndarray, longest: int) -> np.ndarray:
    """Huffman code length of every symbol, 0 for those that do not occur; none above `longest`."""
    lengths = np.zeros(len(counts), np.int64)
    heap: list[tuple[int, int, tuple[int, ...]]] = [(int(n), s, (s,)) for s, n in enumerate(counts) if n]
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
        return lengths
    heapq.heapify(heap)
    while len(heap) > 1:
        # Ties go to the subtree with the smaller symbol, so that the code is the same everywhere.
        (a, first, some), (b, second, others) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[list(some + others)] += 1
        heapq.heappush(heap, (a + b, min(first, second), some + others))
    # Too long only for very skewed counts: flatten them and try again.
    return lengths if lengths.max() <= longest else _code_lengths((counts + 1) // 2, longest)


def _canonical_codes(lengths: np.ndarray) -> np.ndarray:
    """Code words from their lengths (RFC 1951, 3.2.2), bit-reversed: the stream takes the high bit first."""
    codes = np.zeros(len(lengths), np.int64)
    code, previous = 0, 0
    for length, symbol in sorted((int(n), s) for s, n in enumerate(lengths) if n):
        code <<= length - previous
        codes[symbol] = int(f"{code:0{length}b}"[::-1], 2)
        code, previous = code + 1, length
    return codes


def _block_header(lengths: np.ndarray) -> np.ndarray:
    """Bits that open the final block: its kind, and the code lengths, Huffman-coded without run lengths."""
    sent = np.append(lengths, 1)  # one distance code of one bit
    header_lengths = _code_lengths(np.bincount(sent, minlength=19), longest=7)
    ordered = header_lengths[list(LENGTH_CODE_ORDER)]
    literals, distances, header_codes = len(lengths) - 257, 0, len(ordered) - 4
    preamble = _packed(
        np.array([1, 2, literals, distances, header_codes, *ordered]),
        np.array([1, 2, 5, 5, 4, *(3 for _ in ordered)]),
    )
    return np.concatenate([preamble, _packed(_canonical_codes(header_lengths)[sent], header_lengths[sent])])


def _packed(values: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """The low `widths[i]` bits of each `values[i]`, lowest bit first, one after another, as 0 and 1."""
    ends = np.cumsum(widths)
    position = np.arange(ends[-1]) - np.repeat(ends - widths, widths)
    return ((np.repeat(values, widths) >> position) & 1).astype(np.uint8)
