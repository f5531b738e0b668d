"""The cases: every method that trains on features, in the variants whose code differs on a device."""

from typing import Any

import torch

from adlib.learning.methods.afclip.tokens import fit_af_tokens
from adlib.learning.methods.comet.sn import fit_comet_sn
from adlib.learning.methods.cozad.fit import fit_cozad
from adlib.learning.methods.cozad.mutual import with_test_images
from adlib.learning.methods.cozad.zero_shot import fit_cozad_zero
from adlib.learning.methods.patchcore import fit_patchcore
from adlib.learning.methods.simplenet.fit import fit_simplenet
from benchmarks.cuda_parts.cases import (
    FULL,
    SEED,
    SMALL,
    Case,
    Size,
    configured,
    generated,
    generated_auxiliary,
    painted_copies,
    view_of,
)


def target_cases(small: bool) -> list[Case]:
    """Methods on the patches of a target's own images."""
    size = SMALL if small else FULL
    patches = size.side**2
    features, _ = generated(size.images, 0, patches, size.width)
    train = view_of(features)
    test, anomalous = generated(size.anomalies, size.anomalies, patches, size.width, seed=1)
    scored, copies = view_of(test), painted_copies(features)

    def case(name: str, method: str, fit: Any) -> Case:
        return Case(name, method, fit, scored, anomalous)

    simplenet = configured(_head(size)).methods.simplenet
    bank = configured(_bank(size)).methods.patchcore
    whole = configured(_head(size) | _comet(size, meta=False, penalised=False)).settings("comet-sn")
    meta = configured(_head(size) | _comet(size, meta=True, penalised=True)).settings("comet-sn")
    meta = meta.model_copy(
        update={
            "comet": meta.comet.model_copy(
                update={"distances": meta.comet.distances.model_copy(update={"enabled": False})}
            )
        }
    )
    found = [
        case("simplenet", "simplenet", lambda device: fit_simplenet(simplenet, train, SEED, device)),
        case("patchcore", "patchcore", lambda device: fit_patchcore(bank, train, SEED, device)),
        case(
            "comet-sn, painted, distances",
            "comet-sn",
            lambda device: fit_comet_sn(whole, train, SEED, device, copies),
        ),
        case("comet-sn, meta-learning", "comet-sn", lambda device: fit_comet_sn(meta, train, SEED, device)),
    ]
    for loss in ("mean", "sum"):
        for together in (True, False):
            strategy = "meta-learning" if together else "joint"
            params = configured(_head(size) | _cozad(size, loss, together)).settings("cozad")
            found.append(
                case(
                    f"cozad, {loss}, {strategy}",
                    "cozad",
                    lambda device, params=params: fit_cozad(params, train, SEED, device),
                )
            )
    return found


def auxiliary_cases(small: bool) -> list[Case]:
    """Methods that learn from labelled images of other categories, and what they make of the target's."""
    size = SMALL if small else FULL
    test, anomalous = generated(size.anomalies, size.anomalies, size.side**2, size.width, seed=1)
    shots, _ = generated(4, 0, size.side**2, size.width, seed=2)
    auxiliary, scored = generated_auxiliary(size), view_of(test)
    block = "methods.af-tokens."
    tokens = configured(
        {f"{block}epochs": size.epochs, f"{block}heads": 2, f"{block}head_dim": size.width // 4}
        | {f"{block}lr": 1e-3}
    ).methods.af_tokens
    zero = configured(_head(size) | _cozad(size, "mean", True)).settings("cozad-zero")
    changes = {"methods.cozad-zero.transductive.bank": 8, "methods.cozad-zero.transductive.share": 0.3}
    block = configured(changes).methods.cozad_zero

    def few_shot(detector: Any, device: torch.device) -> Any:
        return detector.with_shots(torch.cat(list(view_of(shots).batches(4, device))))

    def together(detector: Any, device: torch.device) -> Any:
        return with_test_images(detector, scored, block, SEED, device)

    def learn(device: torch.device) -> Any:
        return fit_af_tokens(tokens, auxiliary, SEED, device)

    def learn_zero(device: torch.device) -> Any:
        return fit_cozad_zero(zero, auxiliary, SEED, device)

    return [
        Case("af-tokens", "af-tokens", learn, scored, anomalous),
        Case("af-tokens, 4 shots", "af-tokens", learn, scored, anomalous, few_shot),
        Case("cozad-zero", "cozad-zero", learn_zero, scored, anomalous),
        Case("cozad-zero, transductive", "cozad-zero", learn_zero, scored, anomalous, together),
    ]


def _head(size: Size) -> dict[str, Any]:
    """SimpleNet's head, with rates that learn something in few steps."""
    values = {
        "hidden": size.hidden, "epochs": size.epochs, "batch_size": 8, "patches_per_image": size.side**2,
        "lr_adaptor": 2e-4, "lr_discriminator": 1e-3,
    }  # fmt: skip
    return {f"methods.simplenet.{name}": value for name, value in values.items()}


def _bank(size: Size) -> dict[str, Any]:
    block = "methods.patchcore."
    return {f"{block}presample": 8 * size.coreset, f"{block}coreset": size.coreset, f"{block}neighbours": 9}


def _comet(size: Size, *, meta: bool, penalised: bool) -> dict[str, Any]:
    block = "methods.comet-sn."
    return {
        f"{block}epochs": size.epochs, f"{block}batch_size": 8, f"{block}meta_learning": meta,
        f"{block}model_uncertainty": penalised, f"{block}distances.steps": 20 * size.epochs,
        f"{block}prior.patches": size.side**2, f"{block}prior.bank": size.side,
        f"{block}distances.patches": size.side, f"{block}painted.distance": 0.1,
    }  # fmt: skip


def _cozad(size: Size, loss: str, together: bool) -> dict[str, Any]:
    # lambda(Sigma) of the losses' sums, some hundred times the means, would run away.
    block = "methods.cozad."
    return {
        f"{block}epochs": size.epochs, f"{block}batch_size": 8, f"{block}loss": loss,
        f"{block}meta_learning": together, f"{block}gamma": 0.0 if loss == "sum" else 0.5,
        f"{block}prior.patches": size.side**2,
        f"{block}prior.bank": size.side, f"{block}contrastive.max_embeddings": 16 * size.side**2 // 4,
        f"{block}contrastive.chunk_size": 64,
    }  # fmt: skip
