"""`adlib ablate`: settings become parameters, run on drawn samples, and stand beside the paper's numbers."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from sample_outputs import CATEGORY, SMALL, prepare
from toys import ROOT
from typer.testing import CliRunner

from adlib.base.errors import UserError
from adlib.base.files import read_json
from adlib.base.tables import read_csv
from adlib.base.yaml import ParamsError
from adlib.cli.app import app
from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.data.manifest import DataError
from adlib.data.splits import read_splits
from adlib.papers.tables import FOLDER, named_setting
from adlib.tools.ablation import Measured, find_ablation, override, run_ablation
from adlib.tools.ablation_tables import NOT_MEASURED, comparison, differences, markdown, table, with_interval

NAMES = list(YAML(typ="safe").load(FOLDER / "ablations.yaml"))


@pytest.fixture
def small(params: Params) -> Params:
    return override(params, SMALL)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The outputs folder of a pipeline that has not trained anything yet."""
    from adlib.config.params import load_params

    base = tmp_path_factory.mktemp("ablation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADLIB_CACHE", str(base / "store"))
        prepare(override(load_params(ROOT / "params.yaml"), SMALL), base / "outputs")
        yield base / "outputs"


@pytest.mark.parametrize("name", [name for name in NAMES if find_ablation(name).paper not in ("", "afclip")])
def test_every_setting_is_valid_and_is_a_row_of_the_paper(name: str, params: Params):
    ablation = find_ablation(name)
    reported = {(result.method, result.setting) for result in ablation.reported}
    seen = []
    for method in ablation.methods:
        for setting in ablation.settings:
            assert (method, setting) in reported
            chosen = ablation.params(params, method, setting)
            seen.append((chosen.settings(method).model_dump_json(), chosen.backbone))
    assert {setting for method, setting in reported if method in ablation.methods} == set(ablation.settings)
    # Table 5 of CoZAD varies three parameters around one and the same setting.
    assert len(set(seen)) == len(seen) - (2 if name == "cozad-table5" else 0)


def test_settings_by_eye(params: Params):
    table = find_ablation("cozad-table7")
    only = table.params(params, "cozad", "Contrastive only").methods.cozad
    assert (only.data_uncertainty, only.model_uncertainty, only.meta_learning) == (False, False, False)
    assert only.contrastive.lambda_cont == params.methods.cozad.contrastive.lambda_cont
    assert not only.prior.enabled
    assert (
        find_ablation("cozad-table4")
        .params(params, "cozad", "Hard CL (remove samples)")
        .methods.cozad.hard_filtering
    )
    assert find_ablation("cozad-table5").params(params, "cozad", "kappa = 0.5").kappa == 0.5


def test_override_is_checked_like_the_file(params: Params):
    with pytest.raises(
        ParamsError, match=r"changed parameters: methods\.cozad\.contrastive\.tau: .*greater than 0"
    ):
        override(params, {"methods.cozad.contrastive.tau": 0.0})
    for key in ("methods.cozad.contrastive.teu", "methods.cozat.tau", "kapa"):
        with pytest.raises(ParamsError, match="unknown key"):
            override(params, {key: 1})


def test_an_unknown_ablation_lists_the_known():
    with pytest.raises(UserError, match=r"no ablation is called 'x'; there are comet-table5, cozad-table3"):
        find_ablation("x")


def test_a_table_is_run_and_printed_beside_the_paper(small: Params, prepared: Path):
    ablation = find_ablation("cozad-table3")
    measured = run_ablation(ablation, override(small, {"noise.levels": [0.0]}), Workspace(prepared))
    assert {one.setting for one in measured} == set(ablation.settings)
    assert {one.noise for one in measured} == {0.0}
    assert {"image_auroc", "pixel_auroc", "fit_seconds"} <= {one.metric for one in measured}
    header, rows = comparison(ablation, measured, override(small, {"noise.levels": [0.0]}))
    assert header == [
        "method", "setting", "metric", "paper: mvtec, zero-shot visa", "paper: visa, zero-shot mvtec",
        "ours: samples (weave), full-shot, noise 0", "seconds a fit",
    ]  # fmt: skip
    assert rows[0][:5] == ["cozad", "Baseline (SimpleNet)", "image_auroc", "89.7", "80.0"]
    aurocs = [one.value for one in measured if one.setting == rows[0][1] and one.metric == "image_auroc"]
    assert rows[0][5] == f"{100 * aurocs[0]:.1f}"
    assert len(rows) == 4
    assert table(ablation, measured, override(small, {"noise.levels": [0.0]})) == (header, rows)


def test_the_zero_shot_protocol_trains_once_on_the_auxiliary_set(small: Params, prepared: Path):
    row = "+ Meta-Learning"
    ablation = find_ablation("cozad-table3").chosen([row], zero_shot=True)
    measured = run_ablation(ablation, small, Workspace(prepared))
    assert {one.setting for one in measured} == {row}
    aurocs = {one.noise: one.value for one in measured if one.metric == "image_auroc"}
    assert aurocs[0.0] == aurocs[0.1]  # one model, which saw nothing of the target
    header, rows = table(ablation, measured, small)
    assert header[5] == "ours: samples (weave), zero-shot samples, noise 0"
    assert [r[5] == NOT_MEASURED for r in rows] == [True, True, False, True]
    assert rows[2][7] != ""
    with pytest.raises(UserError, match="comet-table5: the zero-shot protocol is for the tables of CoZAD"):
        find_ablation("comet-table5").chosen(zero_shot=True)
    with pytest.raises(UserError, match="cozad-table3 has no setting 'x'; there are Baseline"):
        find_ablation("cozad-table3").chosen(["x"])
    with pytest.raises(UserError, match=r"terrazzo is missing; run `dvc repro` with that method"):
        run_ablation(ablation, override(small, {"auxiliary.categories": ["terrazzo"]}), Workspace(prepared))
    with pytest.raises(UserError, match=r"auxiliary.categories: is empty"):
        run_ablation(ablation, override(small, {"auxiliary.categories": []}), Workspace(prepared))


def test_other_layers_have_features_of_their_own(small: Params, prepared: Path):
    rows = ["1st + 2nd layers", "2nd + 3rd layers"]
    params = override(small, {"noise.levels": [0.0]})
    for zero_shot in (False, True):
        ablation = find_ablation("cozad-table6").chosen(rows, zero_shot=zero_shot)
        measured = run_ablation(ablation, params, Workspace(prepared))
        values = [[one.value for one in measured if one.setting == row] for row in rows]
        assert len(values[0]) == len(values[1]) > 3
        assert values[0] != values[1]
    assert [path.name for path in (prepared / "features").iterdir()] == [CATEGORY]


def fits(store: Path) -> dict[Path, list[str]]:
    """The stored fits, and the images that each was trained on."""
    return {path: read_json(path)["train"] for path in store.rglob("fit.json")}


def test_zero_few_and_full_shot(small: Params, prepared: Path):
    ablation, params = find_ablation("cozad-shots"), override(small, {"noise.levels": [0.0]})
    settings = [ablation.params(params, "cozad", name) for name in ablation.settings]
    assert [ablation.fitted("cozad", name) for name in ablation.settings] == ["cozad-zero"] + 4 * ["cozad"]
    assert settings[-1] == params
    own = set(read_splits(prepared / "contaminate" / f"{CATEGORY}.json").training_sets[0].ids)
    before = fits(prepared.parent / "store")
    quick = {name: {**s, "methods.*.epochs": 1} for name, s in ablation.settings.items()}
    measured = run_ablation(replace(ablation, settings=quick), params, Workspace(prepared))
    trained = [set(ids) for fit, ids in fits(prepared.parent / "store").items() if fit not in before]
    zero, *few = sorted(trained, key=lambda ids: (not ids.isdisjoint(own), len(ids)))
    assert zero.isdisjoint(own)
    assert [len(ids) for ids in few] == [2, 4, 16, 24]
    assert few[-1] == own
    assert all(fewer < more for fewer, more in pairwise(few))
    _, rows = table(ablation, measured, params)
    assert [row[1] for row in rows if row[3] == "image_auroc"] == list(ablation.settings)


def test_our_own_table_has_a_part_alone_and_a_part_left_out(params: Params):
    parts = find_ablation("comet-parts")
    settings = [parts.params(params, "comet-sn", name).settings("comet-sn") for name in parts.settings]
    assert len({chosen.model_dump_json() for chosen in settings}) == len(parts.settings)
    assert parts.params(params, "comet-sn", parts.reference) == params

    def switches(setting: str) -> tuple[bool, ...]:
        comet = parts.params(params, "comet-sn", setting).methods.comet_sn
        prior = comet.prior
        return (
            comet.data_uncertainty, comet.model_uncertainty, comet.meta_learning,
            prior.enabled and prior.image_power > 0, prior.enabled and prior.patch_power > 0,
            comet.painted.share > 0, comet.distances.enabled,
        )  # fmt: skip

    alone = [switches(name) for name in parts.settings if name.startswith("alone")]
    assert alone == [tuple(i == j for j in range(7)) for i in range(7)]
    default, on = switches(parts.reference), (0, 3, 5, 6)
    assert [i for i in range(7) if default[i]] == list(on)
    without = [switches(name) for name in parts.settings if name.startswith("without")]
    assert without == [tuple(d and i != off for i, d in enumerate(default)) for off in on]
    further = [switches(name) for name in parts.settings if name.startswith("and ")]
    assert further == [tuple(d or i == added for i, d in enumerate(default)) for added in (1, 2, 4)]
    paper = parts.params(params, "comet-sn", "paper (128 patches an image)")
    assert paper.methods.simplenet.sigma == 0.015
    assert not paper.methods.comet_sn.prior.enabled


def test_differences_are_paired_by_seed(small: Params):
    parts = find_ablation("comet-parts")

    def one(setting: str, seed: int, value: float, metric: str = "image_auroc") -> Measured:
        return Measured("comet-sn", setting, CATEGORY, 0.1, seed, metric, value)

    measured = [one(parts.reference, 0, 0.9), one(parts.reference, 1, 0.8)]
    measured += [one("no part", 0, 0.88), one("no part", 1, 0.79), one("no part", 0, 30.0, "fit_seconds")]
    header, rows = differences(parts, measured, override(small, {"noise.levels": [0.1]}))
    assert header[4:] == ["noise 0.1", "difference [95 % interval]", "seconds a fit"]
    assert rows[0][1:6] == [parts.reference, CATEGORY, "image_auroc", "85.0", ""]
    # Differences -2 and -1: the mean -1.5, its standard error 0.5, and 12.706 of them.
    assert rows[1][1:] == ["no part", CATEGORY, "image_auroc", "83.5", "-1.5 [-7.9, +4.9]", "30"]
    assert len(rows) == 2
    assert with_interval([1.25]) == "+1.2"


@pytest.mark.parametrize("name", ["paper", "paper-training"])
def test_a_named_setting_is_valid_and_printed_as_options(name: str, params: Params):
    result = CliRunner().invoke(app, ["settings", name])
    assert result.exit_code == 0, result.output
    options = [line.removeprefix("-S ").split("=", 1) for line in result.output.splitlines()]
    changed = override(params, {key: YAML(typ="safe", pure=True).load(value) for key, value in options})
    assert changed.methods.comet_sn.tasks == 4
    assert changed.methods.simplenet.margin == 0.5
    published = name == "paper"
    assert (changed.backbone.name == "wide_resnet50_2", changed.views.backbone.name == "alexnet") == (
        published, published,
    )  # fmt: skip


def test_cozads_published_protocol_is_a_named_setting(params: Params):
    changed = override(params, named_setting("paper-cozad"))
    assert changed.methods.names == ("cozad-zero",)
    assert (changed.auxiliary.name, len(changed.auxiliary.categories)) == ("visa", 12)
    settings = changed.settings("cozad-zero")
    assert settings.cozad.epochs == 40
    assert settings.head.sigma == 0.015
    assert not settings.cozad.prior.enabled


def test_an_unknown_setting_lists_the_known():
    refused = CliRunner().invoke(app, ["settings", "papier"])
    assert refused.exit_code == 1
    assert "there are paper-training, paper, paper-cozad" in refused.output


def test_means_missing_masks_and_what_was_not_run(small: Params):
    ablation = find_ablation("comet-table5")

    def one(category: str, seed: int, value: float) -> Measured:
        return Measured("comet-sn", "CoMet w/o ML", category, 0.0, seed, "image_auroc", value)

    _, rows = comparison(ablation, [one("a", 0, 0.9), one("a", 1, 0.7), one("b", 0, 0.5)], small)
    table = {(row[0], row[1]): row[3:] for row in rows}
    assert table["comet-sn", "CoMet w/o ML"] == ["99.4", "70.0", "no masks", ""]
    assert table["comet-nf", "CoMet w/o ML"] == ["96.8", NOT_MEASURED, NOT_MEASURED, ""]
    assert table["comet-sn", "CoMet w/o SCL and ML (baseline)"][0] == "99.4?"


def test_markdown():
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_what_the_pipeline_has_not_prepared_is_the_users_error(small: Params, prepared: Path):
    ablation = find_ablation("cozad-table3")
    with pytest.raises(UserError, match=r"other.json is missing; run `dvc repro` first"):
        run_ablation(ablation, override(small, {"dataset.categories": ["other"]}), Workspace(prepared))
    with pytest.raises(UserError, match=r"has noise-0_seed-0, noise-0\.1_seed-0; run `dvc repro` for other"):
        run_ablation(ablation, override(small, {"seeds": [0, 1]}), Workspace(prepared))


def test_command_writes_both_tables(
    small: Params, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "outputs").symlink_to(prepared)
    monkeypatch.chdir(tmp_path)
    YAML(typ="safe").dump(small.model_dump(mode="json", by_alias=True), tmp_path / "params.yaml")
    asked = [
        "ablate",
        "cozad-table3",
        "--noise",
        "0",
        "--seed",
        "0",
        "--category",
        CATEGORY,
        "--out",
        "tables",
    ]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert "Baseline (SimpleNet)" in result.output
    rows = read_csv(tmp_path / "tables" / "cozad-table3.csv")
    assert [row["paper: mvtec, zero-shot visa"] for row in rows] == ["89.7", "91.8", "92.6", "92.9"]
    assert (tmp_path / "tables" / "cozad-table3.md").read_text().count("\n") == 6
    refused = CliRunner().invoke(app, ["ablate", "nothing"])
    assert refused.exit_code == 1
    assert "no ablation is called 'nothing'" in refused.output


def test_painted_copies_are_asked_for_where_they_are_missing(small: Params, prepared: Path):
    parts = find_ablation("comet-parts").chosen(["without the density prior"])
    with pytest.raises(DataError, match="has no painted copies; `dvc repro` with a share"):
        run_ablation(parts, override(small, {"methods.comet-sn.painted.share": 0.5}), Workspace(prepared))
