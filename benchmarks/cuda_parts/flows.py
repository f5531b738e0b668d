"""The cases on views: DifferNet's flow, alone and by CoMet. They need FrEIA."""

from adlib.learning.methods.comet.nf import fit_comet_nf
from adlib.learning.methods.flow.differnet import fit_differnet
from benchmarks.cuda_parts.cases import SEED, Case, configured, generated, view_of


def flow_cases(small: bool) -> list[Case]:
    """Both methods, scored by latent norm and by likelihood."""
    images, views, width, hidden, blocks = (16, 4, 12, 16, 1) if small else (48, 8, 256, 256, 8)
    features, _ = generated(images, 0, views, width, grid=False)
    test, anomalous = generated(images // 2, images // 2, views, width, seed=1, grid=False)
    train, found = view_of(features), []
    for score in ("latent", "likelihood"):
        head = {
            "blocks": blocks, "hidden": hidden, "epochs": 2, "batch_size": 8, "views_per_image": 2,
            "score": score,
        }  # fmt: skip
        params = configured(
            {f"methods.differnet.{name}": value for name, value in head.items()}
            | {"methods.comet-nf.epochs": 2, "methods.comet-nf.batch_size": 8}
        )
        plain, comet = params.methods.differnet, params.settings("comet-nf")
        found += [
            Case(
                f"differnet, {score}", "differnet",
                lambda device, p=plain: fit_differnet(p, train, SEED, device), view_of(test), anomalous,
            ),
            Case(
                f"comet-nf, {score}", "comet-nf",
                lambda device, p=comet: fit_comet_nf(p, train, SEED, device), view_of(test), anomalous,
            ),
        ]  # fmt: skip
    return found
