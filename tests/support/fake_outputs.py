"""A small tree of outputs as the stages before the report leave it, without a model or a dataset."""

from pathlib import Path

import numpy as np

from adlib.base.files import write_json
from adlib.base.rng import numpy_stream
from adlib.base.tables import write_csv
from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.data.contaminate import added_anomalies
from adlib.data.splits import Splits, TrainingSet, write_splits
from adlib.evaluation.evaluate import DEFECT_COLUMNS, IMAGE_COLUMNS, threshold_met
from adlib.evaluation.metrics import image_metrics
from adlib.evaluation.pictures import PANEL, encode
from adlib.fits.threshold import conformal_threshold

NORMALS, TEST = 30, 24
PAIR = {
    "distance": 4,
    "first": {"path": "t01.png", "part": "test"},
    "second": {"path": "n03.png", "part": "training"},
}
METHODS = {"simplenet": 1.0, "patchcore": 2.0, "comet-sn": 1.5}  # how far anomalies score above normals


def configure(
    params: Params,
    categories: tuple[str, ...] = ("mono", "poly"),
    methods: tuple[str, ...] = ("simplenet", "patchcore"),
    levels: tuple[float, ...] = (0.0, 0.1),
    seeds: tuple[int, ...] = (0, 1),
) -> Params:
    """The committed parameters with other axes."""
    return params.model_copy(
        update={
            "seeds": seeds,
            "dataset": params.dataset.model_copy(update={"categories": categories}),
            "noise": params.noise.model_copy(update={"levels": levels}),
            "methods": params.methods.model_copy(
                update={
                    "plain": tuple(m for m in methods if m != "comet-sn"),
                    "confident": tuple(m for m in methods if m == "comet-sn"),
                }
            ),
        }
    )


def make_outputs(folder: Path, params: Params, *, masked: tuple[str, ...] = ()) -> Workspace:
    """Write evaluations, splits and timings; the categories in `masked` have pixel metrics as well."""
    workspace = Workspace(folder)
    for category in params.dataset.categories:
        sets = [_training_set(level, seed) for seed in params.seeds for level in params.noise.levels]
        splits = Splits(tuple(f"t{i:02}" for i in range(TEST)), params.noise.overlap, tuple(sets))
        write_splits(workspace.splits(category), splits)
        write_json(workspace.lookalikes(category), {"bits": 256, "limit": 16, "pairs": [PAIR]})
        for method in params.methods.names:
            _evaluation(
                workspace.evaluation(category, method), category, method, splits, pixels=category in masked
            )
            seconds = {s.name: {"fit": 2.0, "score": 0.5} for s in sets}
            write_json(workspace.timing(method, category), seconds)
    return workspace


def _training_set(level: float, seed: int) -> TrainingSet:
    injected = [f"a{i:02}" for i in range(added_anomalies(level, NORMALS))]
    return TrainingSet(level, seed, (*injected, *(f"n{i:02}" for i in range(NORMALS))))


def _evaluation(out: Path, category: str, method: str, splits: Splits, *, pixels: bool) -> None:
    measured, rows, met, defects = [], [], [], []
    labels = np.arange(TEST) % 2 == 1
    for fit in splits.training_sets:
        rng = numpy_stream(fit.seed, category, method, fit.name)
        scores = rng.standard_normal(TEST) + labels * METHODS.get(method, 1.0) * (1 - 3 * fit.noise)
        found = image_metrics(scores, labels) | ({"pixel_auroc": 0.9, "aupro_0.3": 0.7} if pixels else {})
        measured += [
            {"noise": fit.noise, "seed": fit.seed, "metric": metric, "value": value}
            for metric, value in found.items()
        ]
        noise = f"{fit.noise:g}"
        threshold = conformal_threshold(rng.standard_normal(99), 0.05)
        met.append({"noise": fit.noise, "seed": fit.seed} | threshold_met(threshold, scores, labels))
        defects += [[noise, fit.seed, kind, 6, value, 0.5] for kind, value in (("crack", 0.875), ("dent", 1))]
        for id, label, score in zip(splits.test, labels, scores, strict=True):
            defect = "crack" if label else "good"
            rows.append(
                [noise, fit.seed, id, f"{id}.png", "test", int(label), defect, f"{score:.6g}", "", ""]
            )
        for id in fit.ids:
            label, defect = (1, "crack") if id.startswith("a") else (0, "good")
            about = ("", "", "")  # score, weight, suspicion
            if method == "comet-sn":
                weight = rng.uniform(0.4 - 0.3 * label, 1 - 0.5 * label)
                about = (f"{2 - weight:.6g}", f"{weight:.6g}", f"{1 / weight:.6g}")
            rows.append([noise, fit.seed, id, f"{id}.png", "train", label, defect, *about])
    identity = {"features_key": "f" * 64, "weights_sha256": "b" * 64}
    write_json(
        out / "metrics.json", {"vanished_masks": 0, **identity, "thresholds": met, "metrics": measured}
    )
    write_csv(out / "defects.csv", DEFECT_COLUMNS, defects)
    write_csv(out / "images.csv", IMAGE_COLUMNS, rows)
    write_json(out / "gallery.json", _gallery(method, splits))


def _gallery(method: str, splits: Splits) -> dict:
    blank = [np.full((PANEL, n * PANEL, 3), 90, dtype=np.uint8) for n in (2, 3, 5)]
    wide, wider, widest = encode(blank, 10**6)
    test = {"id": "t01", "path": "t01.png", "score": 1.0, "above": 0.25, "mask": False, "jpeg": wide}
    test |= {"patches": [], "nearest": []}
    if method == "comet-sn":
        patches = [{"box": [0, 0, 8, 8], "score": 2.0}] * 7
        like = {
            "nearest": ["n07.png", "n08.png"],
            "distance": [4.25, 5.0],
            "weight": 0.31,
            "auxiliary": False,
        }
        test |= {"jpeg": wider, "patches": patches, **like}
    crack, good = test | {"defect": "crack", "anomalous": True}, test | {"defect": "good", "anomalous": False}
    injected = {"id": "a00", "path": "a00.png", "defect": "crack", "anomalous": True}
    worst = injected | {"weight": 0.1, "suspicion": 3.0, "nearest": ["n00.png"] * 3, "jpeg": widest}
    groups = {"hits": [crack] * 4, "misses": [crack] * 4, "false_alarms": [good] * 4}
    groups["suspects"] = [worst] * 6 if method == "comet-sn" else []
    noise = max(s.noise for s in splits.training_sets)
    scale = {"low": 0.0, "high": 1.0, "quantiles": [0.5, 0.999]}
    return {"noise": noise, "seed": splits.training_sets[0].seed, "scale": scale, "groups": groups}
