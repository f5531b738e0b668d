"""Small features with planted anomalies, and the places that many tests name."""

from pathlib import Path

import numpy as np
import torch

from adlib.data.rows import FeatureInfo, Features

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


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
