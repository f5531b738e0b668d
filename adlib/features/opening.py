"""Opening what a stage of features has left: rows on disk, or the means to make them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from adlib.config import Params
from adlib.data.layouts import dataset_root
from adlib.data.manifest import Sample
from adlib.features.clip_rows import stream_tokens
from adlib.features.store import ROWS, Features, open_features, read_info
from adlib.schema import DatasetParams


def open_rows(
    params: Params,
    dataset: DatasetParams,
    folders: Sequence[tuple[Path, Sequence[Sample]]],
    device: torch.device,
) -> list[Features]:
    """The features of some categories of one image set.

    Rows are memory-mapped. CLIP tokens that were too many to be written are streamed, those of all
    categories together, so that a batch across categories goes through the tower as one.

    Args:
        params: the whole of params.yaml.
        dataset: the image set's block of it.
        folders: for each category its folder of features, and its manifest.
        device: where tokens are made.
    """
    streamed = [(folder, samples) for folder, samples in folders if not (folder / ROWS).is_file()]
    if not streamed:
        return [open_features(folder) for folder, _ in folders]
    root = dataset_root(dataset.name, dataset.root, dataset.version)
    files, starts = [], {}
    for folder, samples in streamed:
        starts[folder] = len(files)
        known = {sample.id: sample for sample in samples}
        files.extend((root, known[id]) for id in read_info(folder).ids)
    rows = stream_tokens(files, params.clip, keep_aspect=params.keep_aspect, device=device)
    return [
        Features(read_info(folder), rows, starts[folder]) if folder in starts else open_features(folder)
        for folder, _ in folders
    ]
