"""Small real objects that several tests share."""

from pathlib import Path

import numpy as np
import pytest
import torch

from adlib.config import Params, load_params
from adlib.features.store import FeatureInfo, Features

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def params() -> Params:
    """The committed params.yaml."""
    return load_params(ROOT / "params.yaml")


@pytest.fixture
def toy_params(params: Params) -> Params:
    """Settings under which the learned heads fit `toy_features` within a second."""
    head = params.methods.simplenet.model_copy(
        update={"epochs": 30, "lr_adaptor": 1e-3, "lr_discriminator": 5e-3, "hidden": 64, "batch_size": 8}
    )
    bank = params.methods.patchcore.model_copy(update={"presample": 1000, "coreset": 200})
    distances = params.methods.comet_sn.distances.model_copy(update={"steps": 60})
    comet = params.methods.comet_sn.model_copy(update={"epochs": 30, "distances": distances})
    few = params.methods.cozad.contrastive.model_copy(update={"max_embeddings": 64})
    cozad = params.methods.cozad.model_copy(update={"epochs": 30, "contrastive": few})
    tokens = params.methods.af_tokens.model_copy(update={"epochs": 15, "lr": 1e-3, "heads": 2, "head_dim": 8})
    flow = params.methods.differnet.model_copy(
        update={"blocks": 2, "hidden": 32, "epochs": 30, "lr": 3e-3, "views_per_image": 8}
    )
    comet_nf = params.methods.comet_nf.model_copy(update={"epochs": 30})
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


def toy_features(
    normals: int, anomalies: int, *, patches: int = 64, width: int = 8, seed: int = 0
) -> Features:
    """Normal patches near a ring in feature space; an anomaly has a few patches far off it.

    The ids tell normal (`n000`) from anomalous (`a000`).
    """
    rng = np.random.default_rng(seed)
    S = normals + anomalies
    angle = rng.uniform(0, 2 * np.pi, (S, patches))
    rows = rng.normal(0, 0.1, (S, patches, width))
    rows[..., 0] += 2 * np.cos(angle)
    rows[..., 1] += 2 * np.sin(angle)
    for row in rows[normals:]:
        row[: patches // 8] += rng.normal(0, 1, width) + 1.5
    ids = tuple([f"n{i:03}" for i in range(normals)] + [f"a{i:03}" for i in range(anomalies)])
    side = int(patches**0.5)
    return Features(FeatureInfo(ids, (side, side), 32, "0" * 64, "toy"), rows.astype(np.float16))


CPU = torch.device("cpu")

# Tiny tensors: a second thread costs more than it brings, above all on a busy machine.
torch.set_num_threads(1)
