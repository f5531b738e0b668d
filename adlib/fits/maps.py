"""Stage `maps`: which pixels a flow's score comes from; the one place after `views` that needs the backbone.

A flow sees one vector a view, so that its scores have no place in the image. DifferNet's answer is the
gradient of the score with respect to the pixels: through rotation, scaling, backbone and flow, for a few
rotations; absolute, averaged, squared (Rudolph et al. 2021, 4.5). As the gradient is taken before the
rotation, it comes back upright by itself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize, rotate

from adlib.base.ahead import read_ahead
from adlib.base.device import resolve_device, to_device
from adlib.base.files import atomic_directory
from adlib.base.progress import say, track
from adlib.config.params import Params
from adlib.data.images import read_rgb, resize_rgb
from adlib.data.manifest import Sample
from adlib.embedding.networks.backbones import Backbone, load_backbone
from adlib.embedding.rotations import view_angles
from adlib.fits.files import INFO, MAPS, FitScores, load_scores
from adlib.fits.folder import load_detector
from adlib.learning.methods.flow.sampling import FlowDetector


def write_maps(
    params: Params,
    category: str,
    method: str,
    samples: Mapping[str, Sample],
    root: Path,
    *,
    fits: Path,
    out: Path,
) -> None:
    """Write the maps of every fit's test images and suspects; none without `gradient_maps.rotations`.

    Args:
        params: the whole of params.yaml.
        category: names the log lines only.
        method: a flow method.
        samples: the manifest by id.
        root: the folder that its paths are relative to.
        fits: what `train` wrote.
        out: folder to write; one subfolder per fit, see `adlib.fits.files.with_maps`.
    """
    with atomic_directory(out) as temporary:
        if not params.gradient_maps.rotations:
            return
        device = resolve_device(params.device)
        backbone = load_backbone(params.views.backbone, device)
        for folder in sorted(path.parent for path in fits.glob(f"*/{INFO}")):
            detector = cast(FlowDetector, load_detector(folder, device))
            paths = [root / samples[id].path for id in mapped_ids(load_scores(folder))]
            (temporary / folder.name).mkdir()
            maps = image_maps(params, detector, backbone, paths)
            np.save(temporary / folder.name / MAPS, maps)
            say(f"{category} {method} {folder.name}: maps of {len(paths)} images")


def image_maps(
    params: Params, detector: FlowDetector, backbone: Backbone, paths: Sequence[Path]
) -> np.ndarray:
    """Maps of some images, `(B, cells^2)` float32, row-major."""
    wanted, views = params.gradient_maps, params.views
    angles = view_angles(views.count, views.seed)[: wanted.rotations]

    def square(path: Path) -> np.ndarray:
        return resize_rgb(read_rgb(path), max(views.sizes), params.keep_aspect)

    maps = []
    with track("maps", len(paths), "images") as advance:
        for frames in read_ahead(paths, wanted.batch_size, square):
            images = to_device(np.stack(frames), backbone.device).permute(0, 3, 1, 2).float() / 255
            gradients = score_gradients(detector, backbone, images, views.sizes, angles)
            maps.append(F.adaptive_avg_pool2d(gradients, wanted.cells).flatten(1).cpu())
            advance(len(frames))
    return torch.cat(maps).numpy()


def mapped_ids(scores: FitScores) -> list[str]:
    """The test images, then the suspects."""
    suspects = [] if scores.suspects is None else [scores.train[i] for i in scores.suspects.images]
    return [*scores.test, *suspects]


def score_gradients(
    detector: FlowDetector, backbone: Backbone, images: Tensor, sizes: Sequence[int], angles: Sequence[float]
) -> Tensor:
    """How much each pixel moves the score.

    Args:
        detector: a trained flow.
        backbone: the network that its views were embedded by.
        images: `(B, 3, S, S)` in [0, 1], of the largest scale.
        sizes: the scales in pixels.
        angles: of the rotations, degrees.

    Returns:
        `(B, S, S)`, the mean over rotations of the gradient's absolute value (summed over colours), squared.
    """
    total = images.new_zeros(images.shape[0], *images.shape[2:])
    for angle in angles:
        pixels = images.clone().requires_grad_(True)
        views = view_features(backbone, pixels, sizes, angle)
        (gradient,) = torch.autograd.grad(detector.view_scores(views[:, None]).sum(), pixels)
        total += gradient.abs().sum(dim=1)
    return (total / len(angles)).square()


def view_features(backbone: Backbone, images: Tensor, sizes: Sequence[int], angle: float) -> Tensor:
    """A view's features as `embedding.rotations` makes them, differentiable: `(B, 3, S, S)` to `(B, D)`."""
    pooled = []
    for size in sizes:
        scaled = resize(images, [size, size], InterpolationMode.BILINEAR, antialias=True)
        turned = rotate(scaled, angle, InterpolationMode.BILINEAR)
        pooled += [level.mean((2, 3)) for level in backbone.forward(turned)]
    return torch.cat(pooled, dim=1)
