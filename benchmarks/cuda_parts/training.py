"""Part 2, fast? Seconds an epoch at the papers' sizes, the share of the peak, memory, kernels and waits.

Few images stand for all: their rows are read again under other names, and an epoch's seconds are scaled to
the paper's number of images. What is scaled says so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adlib.data.rows import FeatureView
from adlib.learning.methods.contract import AuxiliaryImages
from adlib.papers.tables import named_setting
from benchmarks.cuda_parts.cases import SEED, configured, generated, view_of
from benchmarks.cuda_parts.clock import (
    counted_waits,
    flops_of,
    peak_memory,
    profiled_step,
    seconds_of,
    share_of_peak,
    timed_steps,
)
from benchmarks.cuda_parts.isolation import NO_GPU, OK, Row, attempt
from benchmarks.cuda_parts.roles import CPU, cuda_here, precision

MVTEC_TRAIN = 242  # MVTec-AD: 3,629 training images in 15 categories
MVTEC_TEST = 1725  # on which AF-CLIP learns where MVTec-AD is the auxiliary set


@dataclass(frozen=True)
class Training:
    """A training to be timed.

    Attributes:
        what: method and sizes.
        fit: `(epochs, device)`.
        images: in an epoch as it is measured.
        paper: in an epoch of the paper.
        steps: of the optimiser in a measured epoch.
        mode: of the precision that most of its work is done in, for the peak.
    """

    what: str
    fit: Callable[[int, torch.device], Any]
    images: int
    paper: int
    steps: int
    mode: str


def head_rows(small: bool) -> Iterator[Row]:
    """SimpleNet's head: SimpleNet, CoMet-SN, CoZAD; and PatchCore's coreset."""
    yield from measured(_heads(small), small)
    yield from _coreset(small)


def flow_rows(small: bool) -> Iterator[Row]:
    """DifferNet's flow alone and by CoMet; they need FrEIA."""
    from adlib.learning.methods.comet.nf import fit_comet_nf
    from adlib.learning.methods.flow.differnet import fit_differnet

    views, width, images = (4, 12, 8) if small else (64, 768, MVTEC_TRAIN)
    train = repeated(views, width, images)
    tiny = {
        "methods.differnet.hidden": 16, "methods.differnet.blocks": 1, "methods.differnet.batch_size": 4,
        "methods.comet-nf.batch_size": 8, "methods.comet-nf.tasks": 2,
    }  # fmt: skip
    paper = named_setting("paper") | (tiny if small else {})

    def differnet(epochs: int, device: torch.device) -> Any:
        params = configured(paper | {"methods.differnet.epochs": epochs})
        return fit_differnet(params.methods.differnet, train, SEED, device)

    def comet(epochs: int, device: torch.device) -> Any:
        params = configured(paper | {"methods.comet-nf.epochs": epochs})
        return fit_comet_nf(params.settings("comet-nf"), train, SEED, device)

    hidden = configured(paper).methods.differnet.hidden
    about = f"{width} wide, {hidden} units"
    steps = (2, 1) if small else (images // 96, max(1, images // 192))
    yield from measured(
        [
            Training(f"differnet, {about}", differnet, images, MVTEC_TRAIN, steps[0], "float32"),
            Training(f"comet-nf, {about}", comet, images, MVTEC_TRAIN, steps[1], "float32"),
        ],
        small,
    )


def clip_rows(small: bool) -> Iterator[Row]:
    """AF-CLIP's adaptor over the tokens of ViT-L/14@336 at 37 x 37; it needs open_clip."""
    from adlib.learning.methods.afclip.clip import fit_afclip
    from benchmarks.cuda_parts.clip import tower, tower_params

    side, dim, images = (4, 32, 8) if small else (37, 1024, 16)
    tokens = repeated(4 * (1 + side**2), dim, images)
    masks = np.zeros((images, side**2), dtype=bool)
    masks[::2, : side**2 // 8] = True
    auxiliary = {"all": AuxiliaryImages(tokens, np.arange(images) % 2 == 0, masks)}

    def fit(epochs: int, device: torch.device) -> Any:
        params = tower_params(small, epochs=epochs)
        return fit_afclip(
            params.settings("afclip"), auxiliary, SEED, device, clip=tower(params, device), blocks=4
        )

    what = f"afclip, {dim} wide, {side} x {side} tokens"
    yield from measured([Training(what, fit, images, MVTEC_TEST, images // 8, "bf16")], small)


def repeated(patches: int, width: int, images: int) -> FeatureView:
    """A view of many images on the rows of a few."""
    few = view_of(generated(4, 0, patches, width, grid=False)[0])
    return FeatureView(tuple(f"{i:05}" for i in range(images)), few.rows, np.arange(images) % 4)


def _heads(small: bool) -> list[Training]:
    from adlib.learning.methods.comet.sn import fit_comet_sn
    from adlib.learning.methods.cozad.fit import fit_cozad
    from adlib.learning.methods.simplenet.fit import fit_simplenet

    patches, width = (16, 16) if small else (1024, 1536)
    tiny = {
        "methods.simplenet.hidden": 32, "methods.simplenet.batch_size": 8, "methods.comet-sn.batch_size": 8,
        "methods.cozad.batch_size": 8, "methods.comet-sn.tasks": 2,
    }  # fmt: skip
    paper = named_setting("paper") | {
        "methods.cozad.batch_size": 16, "methods.cozad.tasks": 4, "methods.cozad.prior.enabled": False,
    }  # fmt: skip
    paper |= tiny if small else {}
    images = 8 if small else MVTEC_TRAIN
    train, few = repeated(patches, width, images), repeated(patches, width, 8 if small else 32)

    def simplenet(epochs: int, device: torch.device) -> Any:
        params = configured(paper | {"methods.simplenet.epochs": epochs})
        return fit_simplenet(params.methods.simplenet, train, SEED, device)

    def comet(epochs: int, device: torch.device) -> Any:
        params = configured(paper | {"methods.comet-sn.epochs": epochs})
        return fit_comet_sn(params.settings("comet-sn"), train, SEED, device)

    def cozad(epochs: int, device: torch.device) -> Any:
        return fit_cozad(
            configured(paper | {"methods.cozad.epochs": epochs}).settings("cozad"), few, SEED, device
        )

    about = f"{width} channels, {configured(paper).methods.simplenet.hidden} units"
    return [
        Training(f"simplenet, {about}", simplenet, images, MVTEC_TRAIN, 1, "bf16"),
        Training(f"comet-sn, {about}", comet, images, MVTEC_TRAIN, 1, "bf16"),
        Training(f"cozad, {about}", cozad, len(few), MVTEC_TRAIN, len(few) // (8 if small else 16), "bf16"),
    ]


def _coreset(small: bool) -> Iterator[Row]:
    from adlib.learning.methods.patchcore import fit_patchcore

    patches, width, images = (16, 16, 16) if small else (1024, 1536, 49)
    params = configured({"methods.patchcore.coreset": 50} if small else {}).methods.patchcore
    train = repeated(patches, width, images)
    what = f"patchcore, {params.coreset} of {min(params.presample, patches * images)} patches"
    if not cuda_here():
        yield Row(what, "cuda", NO_GPU)
    for device in _devices(small):

        def row(device: torch.device = device) -> Row:
            with peak_memory(device) as memory, precision(tf32=False, half=True):
                fit = seconds_of(lambda: fit_patchcore(params, train, SEED, device), device, least=0, most=1)
                with counted_waits() as waits:
                    fit_patchcore(params, train, SEED, device)
            values = {
                "fit_seconds": round(fit, 3),
                "memory_gib": memory["gib"],
                "waits": dict(waits.most_common()),
            }
            return Row(what, _where(device), OK, values)

        yield attempt(what, _where(device), row)


def measured(trainings: list[Training], small: bool) -> Iterator[Row]:
    """A row each on the GPU; in the small check without one, on the CPU."""
    for training in trainings:
        if not cuda_here():
            yield Row(training.what, "cuda", NO_GPU)
        for device in _devices(small):
            yield attempt(
                training.what,
                _where(device),
                lambda t=training, d=device: Row(t.what, _where(d), OK, times(t, d)),
            )


def times(training: Training, device: torch.device) -> dict[str, Any]:
    """Short fits: an epoch timed after one to warm up, a step profiled, waits and work counted."""
    n = training.steps
    with peak_memory(device) as memory, timed_steps(device) as steps:
        training.fit(3, device)
    if len(steps.marks) != 3 * n:
        raise AssertionError(f"{training.what}: {len(steps.marks)} steps in 3 epochs, {3 * n} expected")
    epoch = steps.seconds(n - 1, 2 * n - 1)
    # Waits apart from the profile, which waits itself.
    with profiled_step(device, n - 1) as kernels:
        training.fit(2, device)
    with counted_waits() as waits:
        training.fit(1, device)
    # The work of an epoch, without what stands before the first and after the last.
    flops = flops_of(lambda: training.fit(2, device)) - flops_of(lambda: training.fit(1, device))
    scale = training.paper / training.images
    return {
        "epoch_seconds": float(f"{epoch * scale:.3g}"),
        "extrapolated": f"{training.images} to {training.paper} images" if scale != 1 else "no",
        "steps_s": round(n / epoch, 2),
        "share_of_peak": share_of_peak(flops / epoch, training.mode),
        "peak_of": training.mode,
        "tflop_an_epoch": float(f"{flops / 1e12:.3g}"),
        "memory_gib": memory["gib"],
        "waits": dict(waits.most_common()) if device.type == "cuda" else NO_GPU,
        "top": kernels.top,
    }


def _devices(small: bool) -> list[torch.device]:
    if cuda_here():
        return [torch.device("cuda:0")]
    return [CPU] if small else []


def _where(device: torch.device) -> str:
    return "cuda" if device.type == "cuda" else "cpu"
