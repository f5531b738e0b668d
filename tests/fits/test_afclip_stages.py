"""AF-CLIP through the functions of its stages: trained once on an auxiliary set, applied to a target."""

from pathlib import Path

import numpy as np
import pytest
import torch
from auxiliary_set import CATEGORIES, TARGET, apply_to_target, configure, learn, write_sets
from PIL import Image
from tiny_clip import tiny_clip
from torch.nn import functional as F
from toys import CPU

from adlib.base.errors import UserError
from adlib.base.files import read_json, sha256_file
from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.data.manifest import Sample, read_manifest, write_rows
from adlib.data.splits import Splits, TrainingSet, write_splits
from adlib.embedding.opening import open_rows
from adlib.embedding.tokens import build_tokens, open_clip_tower
from adlib.fits.files import load_scores
from adlib.fits.folder import load_detector
from adlib.learning.heads.prompts import STATES, prompt_features
from adlib.tools.predict import predict

SIDE = 4


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Auxiliary categories with masks, and a target of ten images."""
    monkeypatch.setenv("ADLIB_CACHE", "off")
    outputs = write_sets(tmp_path)
    rng = np.random.default_rng(5)
    samples = []
    for i in range(10):
        path = f"{TARGET}/{i}.png"
        (tmp_path / "data" / TARGET).mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(tmp_path / "data" / path)
        samples.append(Sample(sha256_file(tmp_path / "data" / path), path, "train" if i < 6 else "test"))
    write_rows(outputs / "fetch" / TARGET / "manifest.csv", samples, Sample)
    ids = [sample.id for sample in samples]
    sets = (TrainingSet(0.0, 0, tuple(ids[:4]), calibration=tuple(ids[4:6])),)
    write_splits(outputs / "contaminate" / f"{TARGET}.json", Splits(tuple(ids[6:]), False, sets))
    return outputs


@pytest.fixture
def clip_params(params: Params, outputs: Path) -> Params:
    afclip = params.methods.afclip.model_copy(
        update={"shots": (0, 2), "heads": 2, "head_dim": 4, "prompt_length": 4, "lr": 1e-3, "batch_size": 5}
    )
    root = outputs.parent / "data"
    changed = configure(params, root, auxiliary=(), clip=("afclip",), afclip=afclip)
    dataset = changed.dataset.model_copy(update={"name": "samples", "root": str(root)})
    block = tiny_clip(outputs.parent / "clip")
    return changed.model_copy(update={"dataset": dataset, "clip": block})


def embed(params: Params, outputs: Path, **changes: object) -> None:
    """Stages `clip` and `clip-auxiliary`."""
    root, clip = outputs.parent / "data", params.clip.model_copy(update=changes)
    for base, categories in ((outputs, (TARGET,)), (outputs / "auxiliary", CATEGORIES)):
        for category in categories:
            samples = read_manifest(base / "fetch" / category / "manifest.csv")
            folder = base / "clip" / category / "afclip"
            build_tokens(folder, samples, root, clip, keep_aspect=False, device=CPU)


def test_cached_and_streamed_tokens_give_the_same_losses_model_and_scores(clip_params: Params, outputs: Path):
    found = []
    for limit in (1.0, 0.0):
        embed(clip_params, outputs, max_gb=limit)
        model = learn(clip_params, outputs, "afclip") / "seed-0"
        fit = apply_to_target(clip_params, outputs, "afclip") / "shots-2" / "noise-0_seed-0"
        scores = load_scores(fit)
        log = read_json(model / "fit.json")["log"]
        found.append((log, (model / "model.safetensors").read_bytes(), scores.image.tobytes(), scores.patch))
    (log, model, image, patch), streamed = found
    assert [entry["epoch"] for entry in log] == [0, 1]
    assert streamed[:3] == (log, model, image)
    assert np.array_equal(streamed[3], patch)


def test_a_trained_model_holds_its_text_features_and_leaves_the_towers(clip_params: Params, outputs: Path):
    embed(clip_params, outputs)
    clip = open_clip_tower(clip_params.clip, CPU)
    before = {name: tensor.clone() for name, tensor in clip.model.state_dict().items()}
    state = load_detector(learn(clip_params, outputs, "afclip") / "seed-0").state()
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.model.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in clip.model.parameters())
    expected = prompt_features(clip.text, state["prompts.vectors"], clip.tokenise(STATES))
    torch.testing.assert_close(state["states"], expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(state["projection.matrix"], clip.model.visual.proj)


def test_scores_with_and_without_shots(clip_params: Params, outputs: Path):
    embed(clip_params, outputs)
    learn(clip_params, outputs, "afclip")
    fits = apply_to_target(clip_params, outputs, "afclip")
    zero, few = load_scores(fits / "noise-0_seed-0"), load_scores(fits / "shots-2" / "noise-0_seed-0")
    assert (zero.grid, zero.image_size, zero.patch.shape) == ((SIDE, SIDE), 40, (4, SIDE**2))
    assert (len(zero.train), len(few.train), len(few.calibration)) == (0, 2, 2)
    assert zero.threshold is not None
    assert ((zero.patch >= 0) & (zero.patch <= 1)).all()
    # AF-CLIP+ adds a tenth of the zero-shot scores to distances between 0 and 1.
    distances = few.patch - 0.1 * zero.patch
    assert ((distances >= -1e-6) & (distances <= 1)).all()
    np.testing.assert_allclose(few.image, distances.max(1) + 0.1 * zero.image, atol=1e-5)
    folder = outputs / "clip" / TARGET / "afclip"
    (features,) = open_rows(clip_params, [(folder, Workspace(outputs).fetched(TARGET))], CPU)
    rows = features.select(few.test).batch(np.arange(4), CPU)
    restored = load_detector(fits / "shots-2" / "noise-0_seed-0").score(rows)
    np.testing.assert_allclose(restored.patch, few.patch, atol=1e-6)


def test_predict_scores_an_image_as_the_stages_did(clip_params: Params, outputs: Path, tmp_path: Path):
    embed(clip_params, outputs)
    learn(clip_params, outputs, "afclip")
    model = apply_to_target(clip_params, outputs, "afclip") / "shots-2" / "noise-0_seed-0"
    scores = load_scores(model)
    paths = {s.id: s.path for s in read_manifest(outputs / "fetch" / TARGET / "manifest.csv")}
    images = [str(outputs.parent / "data" / paths[id]) for id in scores.test]
    rows = predict(images, model, tmp_path / "out", device="cpu")
    assert [row.path for row in rows] == images
    np.testing.assert_allclose([row.score for row in rows], scores.image, rtol=0, atol=1e-6)
    assert scores.threshold is not None
    assert {row.threshold for row in rows} == {scores.threshold.threshold}
    assert len(list((tmp_path / "out" / "heatmaps").iterdir())) == 4


def test_afclip_needs_masks(clip_params: Params, outputs: Path):
    embed(clip_params, outputs)
    path = outputs / "auxiliary" / "fetch" / "stone" / "labels.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0], *(",".join([*r.split(",")[:2], "", ""]) for r in rows[1:])]) + "\n")
    with pytest.raises(
        UserError, match=r"auxiliary.categories: afclip learns from masks, and stone has none"
    ):
        learn(clip_params, outputs, "afclip")


def test_the_key_of_a_fit_leaves_out_where_the_weights_lie(clip_params: Params):
    moved = clip_params.clip.model_copy(update={"weights": "elsewhere.pt", "batch_size": 1, "max_gb": 0.0})
    settings = clip_params.model_copy(update={"clip": moved}).settings("afclip")
    assert settings == clip_params.settings("afclip")
    assert settings.shots == (0,), "the fit is the same for all shots"


def test_a_fixed_prompt_without_an_adaptor_is_clip_itself(clip_params: Params, outputs: Path):
    """Table 4's base, against CLIP's own text tower and projection; nothing is trained."""
    changes = {"adaptor": False, "prompt_length": 0, "windows": (1,), "shots": (0,)}
    afclip = clip_params.methods.afclip.model_copy(update=changes)
    methods = clip_params.methods.model_copy(update={"afclip": afclip})
    base = clip_params.model_copy(
        update={"methods": methods, "clip": clip_params.clip.model_copy(update={"blocks": (4,)})}
    )
    embed(base, outputs)
    model = learn(base, outputs, "afclip") / "seed-0"
    assert read_json(model / "fit.json")["log"] == []
    clip = open_clip_tower(base.clip, CPU)
    ids = clip.tokenise(["a photo of an object without defect.", "a photo of an object with defect."])
    states = F.normalize(clip.model.encode_text(ids), dim=1)
    detector = load_detector(model)
    torch.testing.assert_close(F.normalize(detector.state()["states"], dim=1), states, rtol=0, atol=1e-5)
    workspace = Workspace(outputs)
    samples = read_manifest(workspace.fetched(TARGET).manifest)
    rows_of_target = workspace.rows("tokens", TARGET, "afclip"), workspace.fetched(TARGET)
    (features,) = open_rows(base, [rows_of_target], CPU)
    rows = features.select([sample.id for sample in samples]).batch(np.arange(4), CPU)
    cosines = F.normalize(clip.project(rows.float()), dim=2) @ states.T
    expected = torch.softmax(cosines / 0.07, dim=2)[..., 1]
    scores = detector.score(rows)
    torch.testing.assert_close(scores.image, expected[:, 0], rtol=0, atol=1e-4)
    torch.testing.assert_close(scores.patch, expected[:, 1:], rtol=0, atol=1e-4)


@pytest.mark.parametrize("changes", [{"adaptor": False}, {"prompt_length": 0}])
def test_one_of_both_parts_is_trained_without_the_other(changes: dict, clip_params: Params, outputs: Path):
    afclip = clip_params.methods.afclip.model_copy(update=changes)
    chosen = clip_params.model_copy(
        update={"methods": clip_params.methods.model_copy(update={"afclip": afclip})}
    )
    embed(chosen, outputs)
    model = learn(chosen, outputs, "afclip") / "seed-0"
    assert len(read_json(model / "fit.json")["log"]) == 2
    state = load_detector(model).state()
    assert any(name.startswith("adaptor.") for name in state) == afclip.adaptor
    assert len(state["prompts.vectors"]) == afclip.prompt_length
    expected = load_scores(apply_to_target(chosen, outputs, "afclip") / "shots-2" / "noise-0_seed-0")
    assert expected.patch.shape == (4, SIDE**2)
