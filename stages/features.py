"""features CATEGORY [KIND [METHOD]] [auxiliary]: images through a frozen network, one row per image.

KIND is `patches` (the default), `views` (for flows) or `clip` (its tokens, unless they are too many).
"""

import sys

from adlib.base.device import resolve_device
from adlib.base.errors import stage
from adlib.base.progress import say
from adlib.config.params import load_params
from adlib.config.workspace import Workspace
from adlib.data.manifest import read_manifest
from adlib.data.source import read_source
from adlib.embedding.patches import build_features
from adlib.embedding.rotations import build_views
from adlib.embedding.tokens import build_tokens


@stage
def main(category: str, *arguments: str) -> None:
    params, workspace = load_params(), Workspace()
    if arguments[-1:] == ("auxiliary",):
        workspace, arguments = workspace.auxiliary, arguments[:-1]
    kind, method = arguments or ("patches", "")
    fetched, device = workspace.fetched(category), resolve_device(params.device)
    samples, root = read_manifest(fetched.manifest), read_source(fetched.source).folder
    frame = {"keep_aspect": params.keep_aspect, "device": device}
    if kind == "views":
        out = workspace.rows("views", category, method)
        embedded = build_views(out, samples, root, params.views, **frame)
    elif kind == "clip":
        out = workspace.rows("tokens", category, method)
        embedded = build_tokens(out, samples, root, params.clip, **frame)
    else:
        out = workspace.rows("patches", category)
        embedded = build_features(out, samples, root, params.backbone, image_size=params.image_size, **frame)
    if embedded is not None:
        say(f"{category}: embedded {embedded} images, {len(samples) - embedded} from the store")


if __name__ == "__main__":
    main(*sys.argv[1:])
