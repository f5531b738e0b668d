"""A contact sheet: some images of every split and kind of defect at a glance, defects tinted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from adlib.data.images import read_mask, read_rgb, resize_mask, resize_rgb
from adlib.data.manifest import Record
from adlib.supply.verify import groups

SIDE = 112  # pixels of a picture, padded to a square
LINE = 16  # pixels of a line of text
TINT = np.array([255, 40, 40])


def contact_sheet(root: Path, records: Sequence[Record], columns: int = 8) -> Image.Image:
    """A row of up to `columns` images, evenly picked, for every split and kind of defect."""
    rows = groups(sorted(records, key=lambda record: record.path))
    sheet = Image.new("RGB", (columns * SIDE, max(1, len(rows)) * (SIDE + LINE)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, members) in enumerate(rows.items()):
        top = row * (SIDE + LINE)
        draw.text((4, top + 2), f"{' '.join(name)}: {len(members)}", fill="black")
        picks = np.unique(np.linspace(0, len(members) - 1, columns).round().astype(int))
        for column, pick in enumerate(picks):
            sheet.paste(_thumbnail(root, members[pick]), (column * SIDE, top + LINE))
    return sheet


def _thumbnail(root: Path, record: Record) -> Image.Image:
    rgb = read_rgb(root / record.path)
    small = resize_rgb(rgb, SIDE, keep_aspect=True)
    if record.mask:
        mask = resize_mask(
            read_mask(root / record.mask, (rgb.shape[0], rgb.shape[1])), SIDE, keep_aspect=True
        )
        small = np.where(mask[:, :, None], (small + TINT) // 2, small).astype(np.uint8)
    return Image.fromarray(small)
