"""AF-CLIP's ablations: rows of the paper as settings, run on drawn samples with and without a tiny CLIP."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sample_outputs import AUXILIARY, CATEGORY, SMALL, embedded
from tiny_clip import tiny_clip
from toys import CPU, ROOT

from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.data.contaminate import contaminate
from adlib.data.manifest import read_manifest
from adlib.data.splits import write_splits
from adlib.embedding.tokens import build_tokens
from adlib.tools.ablation import Ablation, find_ablation, override, run_ablation
from adlib.tools.ablation_tables import NOT_MEASURED, table

NAMES = ("afclip-table4", "afclip-loss")
QUICK = {
    f"methods.{method}.{key}": value
    for method in ("afclip", "af-tokens")
    for key, value in {"heads": 2, "head_dim": 4, "epochs": 1}.items()
}


@pytest.fixture(scope="module")
def small(params: Params) -> Params:
    return override(params, {**SMALL, **QUICK, "noise.levels": [0.0]})


@pytest.fixture(scope="module")
def prepared(small: Params, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The outputs of a pipeline that has not trained anything yet."""
    base = tmp_path_factory.mktemp("ablation")
    outputs = base / "outputs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADLIB_CACHE", str(base / "store"))
        _prepare(small, outputs)
        yield outputs


def _prepare(small: Params, outputs: Path) -> None:
    embedded(small, small.auxiliary, AUXILIARY, outputs / "auxiliary")
    fetched = embedded(small, small.dataset, CATEGORY, outputs)
    labels = {label.id: label for label in fetched.labels}
    splits = contaminate(
        fetched.samples, labels, levels=[0.0], seeds=[0], reserve=0.4, overlap=False, split_seed=0
    )
    write_splits(outputs / "contaminate" / f"{CATEGORY}.json", splits)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_valid_and_is_a_row_of_the_paper(name: str, params: Params):
    ablation = find_ablation(name)
    assert set(ablation.settings) == {result.setting for result in ablation.reported}
    with_weights = override(params, {"clip.weights": "random"})
    seen = []
    for method, setting in ablation.rows(with_weights):
        chosen = ablation.params(with_weights, method, setting)
        settings = chosen.settings(method).model_dump_json()
        seen.append((method, settings, chosen.clip if method == "afclip" else chosen.backbone))
        assert chosen.methods.block(method).shots == (0,)
    assert len({repr(one) for one in seen}) == len(seen)
    rows = [setting for method, setting in ablation.rows(with_weights) if method == "afclip"]
    assert rows == list(ablation.settings)
    assert {method for method, _ in ablation.rows(params)} == {"af-tokens"}, "no weights, no row of CLIP"


def test_each_row_of_table_4_adds_a_part(params: Params):
    found = []
    table4 = find_ablation("afclip-table4")
    for setting in table4.settings:
        chosen = table4.params(params, "afclip", setting)
        own = chosen.methods.afclip
        parts = (own.prompt_length > 0, own.adaptor, chosen.clip.blocks != (24,), own.windows == (1, 3, 5))
        found.append(sum(parts))
        assert parts == tuple(i < sum(parts) for i in range(4))
    assert found == [0, 1, 2, 3, 4]
    assert "base" not in [setting for _, setting in table4.rows(params)], "af-tokens has no prompt to fix"
    assert table4.params(params, "af-tokens", "V2").backbone.out_indices == (3,)
    without = find_ablation("afclip-loss").params(params, "afclip", "without the alignment loss")
    assert without.methods.afclip.lambda2 == 0


def test_af_tokens_is_measured_and_afclip_is_not_without_weights(small: Params, prepared: Path):
    ablation = find_ablation("afclip-table4").chosen(["V1", "V4"])
    measured = run_ablation(ablation, small, Workspace(prepared))
    header, rows = table(ablation, measured, small)
    assert header[5] == "ours: samples (weave), zero-shot samples, noise 0"
    by_key = {tuple(row[:3]): row[3:] for row in rows}
    assert by_key["afclip", "V4", "image_auroc"] == ["92.9", "88.5", NOT_MEASURED, ""]
    assert by_key["afclip", "V4", "image_ap"][1] == "89.9?"
    values = [by_key["af-tokens", setting, "pixel_auroc"] for setting in ("V1", "V4")]
    assert [row[:2] for row in values] == [["", ""], ["", ""]]
    assert values[0][2] != values[1][2]
    assert all(0 <= float(row[2]) <= 100 for row in values)
    assert ("af-tokens", "base", "image_auroc") not in by_key


def with_blocks(ablation: Ablation, blocks: list[int]) -> Ablation:
    """The same table for a tower of another depth."""
    settings = {
        name: {key: blocks if key == "clip.blocks" else value for key, value in changes.items()}
        for name, changes in ablation.settings.items()
    }
    return replace(ablation, methods=("afclip",), settings=settings)


def test_the_rows_of_clip_run_with_weights(small: Params, prepared: Path, tmp_path: Path):
    chosen = small.model_copy(update={"clip": tiny_clip(tmp_path / "clip")})
    chosen = override(chosen, {"methods.afclip.prompt_length": 4})
    for dataset, base in ((chosen.dataset, prepared), (chosen.auxiliary, prepared / "auxiliary")):
        (category,) = dataset.categories
        samples = read_manifest(base / "fetch" / category / "manifest.csv")
        folder = base / "clip" / category / "afclip"
        build_tokens(folder, samples, ROOT / "samples", chosen.clip, keep_aspect=False, device=CPU)
    ablation = with_blocks(find_ablation("afclip-table4"), [4])
    measured = run_ablation(ablation, chosen, Workspace(prepared))
    aurocs = {one.setting: one.value for one in measured if one.metric == "image_auroc"}
    seconds = {one.setting: one.value for one in measured if one.metric == "fit_seconds"}
    assert list(aurocs) == ["base", "V1", "V2", "V3", "V4"]
    assert len(set(aurocs.values())) > 2
    assert seconds["base"] < seconds["V4"], "a fixed prompt without an adaptor has nothing to learn"
    _, rows = table(ablation, measured, chosen)
    assert rows[0][:3] == ["afclip", "base", "image_auroc"]
    assert rows[0][5] == f"{100 * aurocs['base']:.1f}"
