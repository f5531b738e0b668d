"""Small real objects that several tests share."""

from pathlib import Path

import hypothesis
import pytest
import torch
from toys import ROOT

from adlib.config.params import Params, load_params


# Parameters are frozen, so that all tests may have the same.
@pytest.fixture(scope="session")
def params() -> Params:
    """The committed params.yaml."""
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def toy_params(params: Params) -> Params:
    """Settings under which the learned heads fit `toy_features` within a second."""
    head = params.methods.simplenet.model_copy(
        update={"epochs": 30, "lr_adaptor": 1e-3, "lr_discriminator": 5e-3, "hidden": 64, "batch_size": 8}
    )
    bank = params.methods.patchcore.model_copy(update={"presample": 1000, "coreset": 200})
    distances = params.methods.comet_sn.distances.model_copy(update={"steps": 60})
    comet = params.methods.comet_sn.model_copy(update={"epochs": 30, "distances": distances})
    few = params.methods.cozad.contrastive.model_copy(update={"max_embeddings": 64})
    cozad = params.methods.cozad.model_copy(update={"epochs": 15, "contrastive": few})
    tokens = params.methods.af_tokens.model_copy(update={"epochs": 15, "lr": 1e-3, "heads": 2, "head_dim": 8})
    flow = params.methods.differnet.model_copy(
        update={"blocks": 2, "hidden": 32, "epochs": 30, "lr": 3e-3, "views_per_image": 8}
    )
    comet_nf = params.methods.comet_nf.model_copy(update={"epochs": 15})
    methods = params.methods.model_copy(
        update={
            "simplenet": head, "patchcore": bank, "comet_sn": comet, "cozad": cozad, "af_tokens": tokens,
            "differnet": flow, "comet_nf": comet_nf,
        }
    )  # fmt: skip
    return params.model_copy(update={"methods": methods})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store of the test's own."""
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "store"))
    return tmp_path / "store"



def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: with two processes the short ones then fill what time is left."""
    items.sort(key=lambda item: not any(item.get_closest_marker(mark) for mark in ("pipeline", "slow")))


# A busy machine is no failure.
hypothesis.settings.register_profile("adlib", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)  # `make quick`
hypothesis.settings.load_profile("adlib")

# Tiny tensors: a second thread costs more than it brings, above all on a busy machine.
torch.set_num_threads(1)
