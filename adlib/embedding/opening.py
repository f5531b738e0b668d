"""Opening what a stage of features has left: rows on disk, or the means to make them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from adlib.base.errors import UserError
from adlib.config.params import Params
from adlib.config.workspace import FetchedFiles, Workspace
from adlib.data.manifest import read_manifest
from adlib.data.rows import ROWS, Features, FeatureView, join_views, open_features, read_info
from adlib.data.source import read_source
from adlib.embedding.recipe import StreamedRows
from adlib.embedding.tokens import token_recipe


def open_rows(
    params: Params, folders: Sequence[tuple[Path, FetchedFiles]], device: torch.device
) -> list[Features]:
    """The features of some categories of one image set.

    Rows are memory-mapped. CLIP tokens that were too many to be written are streamed, those of all
    categories together, so that a batch across categories goes through the tower as one.

    Args:
        params: the whole of params.yaml.
        folders: for each category its folder of features, and what `fetch` wrote.
        device: where tokens are made.
    """
    streamed = [(folder, fetched) for folder, fetched in folders if not (folder / ROWS).is_file()]
    if not streamed:
        return [open_features(folder) for folder, _ in folders]
    files, starts = [], {}
    for folder, fetched in streamed:
        starts[folder] = len(files)
        root = read_source(fetched.source).folder
        known = {sample.id: sample for sample in read_manifest(fetched.manifest)}
        files.extend((root, known[id]) for id in read_info(folder).ids)
    recipe = token_recipe(params.clip, keep_aspect=params.keep_aspect, device=device)
    rows = StreamedRows(recipe, files)
    return [
        Features(read_info(folder), rows, starts[folder]) if folder in starts else open_features(folder)
        for folder, _ in folders
    ]


def open_witnesses(workspace: Workspace, ids: Mapping[str, Sequence[str]], key: str) -> FeatureView:
    """The patch features of images that a fit learned from, to compare others with.

    Args:
        workspace: the target's, or the auxiliary set's.
        ids: of each category, in the order of the view.
        key: identity of the features that the fit reads.

    Raises:
        UserError: the workspace does not hold them, or they are of another backbone.
    """
    views = []
    for category, chosen in ids.items():
        folder = workspace.rows("patches", category)
        if not folder.exists():
            raise UserError(f"{folder} is missing; run `dvc repro` in the model's workspace")
        opened = open_features(folder)
        if opened.info.key != key:
            raise UserError(f"{folder}: of another backbone than the model's; run `dvc repro`")
        views.append(opened.select(chosen))
    return join_views(views)
