"""params.yaml: what is accepted, and that every refusal names the key, what is allowed and what was found."""

import copy
import datetime
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from toys import ROOT

from adlib.base.yaml import ParamsError
from adlib.config.params import Params, checked_params, load_params
from adlib.config.variants import split_variant

Edit = Callable[..., Params]
COMMITTED = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")


def blocks(raw: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every mapping of the file, the file itself included."""
    yield path
    for key, value in raw.items():
        if isinstance(value, dict):
            yield from blocks(value, (*path, key))


def at(raw: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path:
        raw = raw[key]
    return raw


BLOCKS = list(blocks(COMMITTED))
KEYS = [".".join((*path, key)) for path in BLOCKS for key in at(COMMITTED, path)]
LEAVES = [key for key in KEYS if tuple(key.split(".")) not in BLOCKS]
NUMBERS = [
    key
    for key in LEAVES
    for value in [at(COMMITTED, tuple(key.split(".")[:-1]))[key.split(".")[-1]]]
    if isinstance(value, int | float) and not isinstance(value, bool)
]


def changed(changes: dict[str, Any] | None = None, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of the committed file with changes."""
    raw = copy.deepcopy(COMMITTED)
    for key, value in (changes or {}).items():
        *block, name = key.split(".")
        at(raw, tuple(block))[name] = value
    for key in without:
        *block, name = key.split(".")
        del at(raw, tuple(block))[name]
    return raw


@pytest.fixture
def edited() -> Edit:
    """The committed parameters with changes: `edited({"noise.levels": [0]})`, `edited(without=["kappa"])`."""
    return lambda *args, **kwargs: checked_params(changed(*args, **kwargs), "params.yaml")


CHANGES = [{}, {"kappa": 2, "noise.levels": [0, 0.1]}, {"kappa": "1"}, {"seeds": [math.nan]}, {"clip": 3}]


@pytest.mark.parametrize("changes", [*CHANGES, {"kappa": datetime.date(2021, 1, 2), "keep_aspect": "yes"}])
def test_a_file_is_checked_as_its_values_are(tmp_path: Path, edited: Edit, changes: dict[str, Any]):
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(changed(changes), file)

    def found(check: Callable[[], Params]) -> Params | str:
        try:
            return check()
        except ParamsError as error:
            return str(error).replace(str(path), "params.yaml")

    assert found(lambda: load_params(path)) == found(lambda: edited(changes))


def test_the_committed_file_is_valid():
    assert load_params(ROOT / "params.yaml").methods.names


def test_the_current_folder_is_the_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert load_params() == load_params(ROOT / "params.yaml")


def test_a_float_may_be_written_as_an_integer(edited: Edit):
    params = edited({"kappa": 2, "noise.levels": [0, 0.1]})
    assert params == edited({"kappa": 2.0, "noise.levels": [0.0, 0.1]})
    assert isinstance(params.kappa, float)
    assert isinstance(params.noise.levels[0], float)


def test_numbers_as_in_yaml_1_2(tmp_path: Path):
    """DVC reads and writes YAML 1.2, where `1e-4` is a number; in YAML 1.1 it is a string."""
    text = (ROOT / "params.yaml").read_text()
    short, long = (re.sub(r"\bkappa: \S+", f"kappa: {number}", text) for number in ("1e-4", "0.0001"))
    assert short != long
    for name, content in (("short", short), ("long", long)):
        (tmp_path / name).write_text(content)
    assert load_params(tmp_path / "short").kappa == 1e-4
    assert load_params(tmp_path / "short") == load_params(tmp_path / "long")


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_required(edited: Edit, key: str):
    with pytest.raises(ParamsError, match=rf"params.yaml: {key}: required key is missing; add it"):
        edited(without=(key,))


@pytest.mark.parametrize("key", LEAVES)
def test_every_value_is_checked(edited: Edit, key: str):
    with pytest.raises(ParamsError, match=rf"params.yaml: {key}: .*'strange'"):
        edited({key: {"strange": 1}})


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", [True, "abc", "1", math.nan])
def test_a_number_is_a_number(edited: Edit, key: str, value: object):
    with pytest.raises(ParamsError, match=rf"{key}: should be .*, got {value!r}"):
        edited({key: value})


@pytest.mark.parametrize("block", BLOCKS, ids=".".join)
def test_an_unknown_key_is_refused_with_a_hint(edited: Edit, block: tuple[str, ...]):
    known = list(at(COMMITTED, block))
    misspelt = ".".join((*block, known[0] + "x"))
    with pytest.raises(ParamsError) as caught:
        edited({misspelt: 1})
    message = str(caught.value)
    assert f"{misspelt}: unknown key; allowed here: {', '.join(known)}" in message
    assert message.endswith(f"did you mean {known[0]!r}?")


def test_an_unknown_key_like_no_other_gets_no_hint(edited: Edit):
    with pytest.raises(ParamsError, match=r"qqq: unknown key; allowed here: kappa, [^?]*$"):
        edited({"qqq": 1})


def test_the_hyphen_of_comet_sn_is_part_of_its_name(edited: Edit):
    """`comet_sn` in params.yaml would escape DVC, which watches `methods.comet-sn`."""
    with pytest.raises(ParamsError, match=r"methods.comet_sn: unknown key; .*did you mean 'comet-sn'\?"):
        edited({"methods.comet_sn": COMMITTED["methods"]["comet-sn"]}, without=("methods.comet-sn",))


def test_every_problem_is_a_line(edited: Edit):
    with pytest.raises(ParamsError) as caught:
        edited({"kappa": "abc", "noise.reserve": 0.6, "methods.comet-sn.floor": 0})
    first, second, third = str(caught.value).splitlines()
    assert first.endswith("params.yaml: kappa: should be a valid number, got 'abc'")
    assert second.endswith("params.yaml: noise.reserve: should be less than or equal to 0.5, got 0.6")
    assert third.endswith("params.yaml: methods.comet-sn.floor: should be greater than 0, got 0")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kappa", None, "kappa: should be a valid number, got None"),
        ("kappa", -0.1, "kappa: should be greater than or equal to 0, got -0.1"),
        ("kappa", math.inf, "kappa: should be a finite number, got inf"),
        ("kappa", datetime.date(2021, 1, 2), "kappa: should be a valid number, got '2021-01-02'"),
        ("seeds", [0, -1], "seeds.1: should be greater than or equal to 0, got -1"),
        ("seeds", [2**32], "seeds.0: should be less than 4294967296, got 4294967296"),
        ("seeds", [0.0], "seeds.0: should be a valid integer, got 0.0"),
        ("seeds", 0, "seeds: should be a valid array, got 0"),
        ("device", "gpu", "device: should match pattern '^(auto|cpu|cuda(:\\d+)?)$', got 'gpu'"),
        ("image_size", 31, "image_size: should be greater than or equal to 32, got 31"),
        ("keep_aspect", 0, "keep_aspect: should be a valid boolean, got 0"),
        ("keep_aspect", "yes", "keep_aspect: should be a valid boolean, got 'yes'"),
        (
            "dataset.name",
            "elvp",
            "dataset.name: should be 'elpv', 'textile', 'samples', 'folder', 'globs', 'mvtec'",
        ),
        ("dataset.root", "", "dataset.root: should have at least 1 character, got ''"),
        ("dataset.version", 1.0, "dataset.version: should be a valid string, got 1.0"),
        ("dataset.categories", ["../x"], "dataset.categories.0: should match pattern"),
        ("dataset.categories", ["a/b"], "dataset.categories.0: should match pattern"),
        ("dataset.categories", ["a\n"], "dataset.categories.0: should match pattern"),
        ("dataset.categories", ["a" * 81], "dataset.categories.0: should have at most 80 characters"),
        ("dataset.urls", ["ftp://x"], "dataset.urls.0: should match pattern '^https?://', got 'ftp://x'"),
        ("dataset.sha256", "1", "dataset.sha256: should match pattern '^[0-9a-f]{64}$', got '1'"),
        ("dataset.max_train", 0, "dataset.max_train: should be greater than or equal to 1, got 0"),
        ("dataset.split_seed", -1, "dataset.split_seed: should be greater than or equal to 0, got -1"),
        (
            "dataset.max_calibration",
            -1,
            "dataset.max_calibration: should be greater than or equal to 0, got -1",
        ),
        (
            "dataset.calibration_share",
            0.6,
            "dataset.calibration_share: should be less than or equal to 0.5, got",
        ),
        ("threshold.fpr", 0, "threshold.fpr: should be greater than 0, got 0"),
        ("threshold.fpr", 1, "threshold.fpr: should be less than 1, got 1"),
        ("threshold.trim", 0.6, "threshold.trim: should be less than or equal to 0.5, got 0.6"),
        ("threshold.contamination", 0.6, "threshold.contamination: should be less than or equal to 0.5, got"),
        ("noise.levels", [1.0], "noise.levels.0: should be less than 1, got 1.0"),
        ("noise.levels", [0.0, math.nan], "noise.levels.1: should be less than 1, got nan"),
        ("noise.reserve", 0.51, "noise.reserve: should be less than or equal to 0.5, got 0.51"),
        (
            "backbone.out_indices",
            [-1],
            "backbone.out_indices.0: should be greater than or equal to 0, got -1",
        ),
        ("backbone.patch_size", 2, "backbone.patch_size: should be odd, got 2"),
        ("backbone.patch_size", 17, "backbone.patch_size: should be less than or equal to 15, got 17"),
        ("backbone.sha256", "A" * 64, "backbone.sha256: should match pattern '^[0-9a-f]{64}$', got 'AAA"),
        (
            "methods.plain",
            ["simplnet"],
            "methods.plain: should hold 'simplenet' or 'patchcore' only, got ['simplnet']",
        ),
        (
            "methods.confident",
            ["simplenet"],
            "methods.confident: should hold 'comet-sn' or 'cozad' only, got ['simplenet']",
        ),
        (
            "methods.comet-sn.painted.share",
            1.5,
            "methods.comet-sn.painted.share: should be less than or equal to 1, got 1.5",
        ),
        ("methods.comet-sn.floor", 1.1, "methods.comet-sn.floor: should be less than or equal to 1, got 1.1"),
        (
            "methods.auxiliary",
            ["afclip"],
            "methods.auxiliary: should hold 'cozad-zero' or 'af-tokens' only, got ['afclip']",
        ),
        ("methods.af-tokens.shots", [-1], "methods.af-tokens.shots.0: should be greater than or equal to 0"),
        ("methods.af-tokens.windows", [2], "methods.af-tokens.windows.0: should be odd, got 2"),
        ("methods.af-tokens.betas", [0.5], "methods.af-tokens.betas: should have at least 2 items"),
        ("methods.af-tokens.betas", [0.5, 1.0], "methods.af-tokens.betas.1: should be less than 1, got 1"),
        (
            "methods.afclip.prompt_length",
            73,
            "methods.afclip.prompt_length: should be less than or equal to 72",
        ),
        ("methods.clip", ["clip"], "methods.clip: should hold 'afclip' only, got ['clip']"),
        ("methods.afclip.prompt_length", -1, "methods.afclip.prompt_length: should be greater than or equal"),
        ("methods.af-tokens.adaptor", 0, "methods.af-tokens.adaptor: should be a valid boolean, got 0"),
        ("methods.afclip.prompt_std", 0, "methods.afclip.prompt_std: should be greater than 0, got 0"),
        ("methods.afclip.compile", 1, "methods.afclip.compile: should be a valid boolean, got 1"),
        ("clip.blocks", [0], "clip.blocks.0: should be greater than or equal to 1, got 0"),
        ("clip.image_size", 16, "clip.image_size: should be greater than or equal to 32, got 16"),
        ("clip.max_gb", -1, "clip.max_gb: should be greater than or equal to 0, got -1"),
        ("dataset", 3, "dataset: should be an object, got 3"),
    ],
)
def test_bounds_and_types(edited: Edit, key: str, value: object, message: str):
    with pytest.raises(ParamsError) as caught:
        edited({key: value})
    (line,) = str(caught.value).splitlines()
    assert f"params.yaml: {message}" in line


@pytest.mark.parametrize("key", ["seeds", "dataset.categories", "noise.levels", "backbone.out_indices"])
def test_an_empty_list_is_refused(edited: Edit, key: str):
    with pytest.raises(ParamsError, match=rf"{key}: should have at least 1 item, got \[\]$"):
        edited({key: []})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seeds", [3, 1, 3]),
        ("dataset.categories", ["a", "a"]),
        ("noise.levels", [0.1, 0.1]),
        ("noise.levels", [0, 0.0]),
        ("noise.levels", [0.1, 0.1 + 1e-9]),  # one name, `noise-0.1`, for two folders
    ],
)
def test_a_repeated_entry_is_refused(edited: Edit, key: str, value: list[object]):
    with pytest.raises(ParamsError, match=rf"{key}: every entry may stand once, got \["):
        edited({key: value})


def test_a_repeated_method_is_refused(edited: Edit):
    with pytest.raises(
        ParamsError, match=r"methods: every entry may stand once, got .*'patchcore', 'patchcore'"
    ):
        edited({"methods.plain": ["patchcore", "patchcore"]})


@pytest.mark.parametrize("value", [[2, 2], [3, 2]])
def test_levels_of_the_backbone_increase(edited: Edit, value: list[int]):
    """timm returns the levels in the network's order whatever is asked: two lists would name one result."""
    for block in ("backbone", "views.backbone"):
        with pytest.raises(ParamsError, match=rf"params.yaml: {block}.out_indices: must increase .*, got \["):
            edited({f"{block}.out_indices": value})


def test_a_profile_may_be_empty_but_not_all(edited: Edit):
    assert edited({"methods.plain": [], "methods.confident": ["comet-sn"]}).methods.names == ("comet-sn",)
    with pytest.raises(ParamsError, match=r"methods: plain, .*, auxiliary and clip are empty; name"):
        edited({"methods.plain": [], "methods.confident": []})


def test_an_auxiliary_method_needs_an_auxiliary_set(edited: Edit):
    with pytest.raises(ParamsError, match=r"auxiliary.categories: af-tokens trains on them, got \[\]; name"):
        edited({"methods.auxiliary": ["af-tokens"]})
    changes = {"methods.auxiliary": ["af-tokens"], "auxiliary.categories": ["weave"]}
    assert edited(changes).methods.names == ("simplenet", "patchcore", "comet-sn", "af-tokens")


def test_afclip_is_a_list_of_its_own_and_needs_an_auxiliary_set(edited: Edit):
    with pytest.raises(ParamsError, match=r"auxiliary.categories: afclip trains on them, got \[\]; name"):
        edited({"methods.clip": ["afclip"]})
    changes = {
        "methods.clip": ["afclip"], "auxiliary.categories": ["weave"], "clip.weights": "random",
        "methods.afclip.shots": [0, 2],
    }  # fmt: skip
    names = edited(changes).methods.names
    assert names == ("simplenet", "patchcore", "comet-sn", "afclip", "afclip/shots-2")
    assert edited({"clip.blocks": [3, 9]}).clip.blocks == (3, 9)
    for blocks in ([9, 3], [3, 3]):
        with pytest.raises(ParamsError, match=r"params.yaml: clip.blocks: must increase .*, got \["):
            edited({"clip.blocks": blocks})


def test_afclip_needs_weights(edited: Edit):
    """Nothing is the default: before any image is embedded, not in the stage that loads the tower."""
    changes = {"methods.clip": ["afclip"], "auxiliary.categories": ["weave"]}
    with pytest.raises(
        ParamsError, match=r"clip.weights: afclip needs CLIP's weights, got null; name a local"
    ):
        edited(changes)
    assert edited(changes | {"clip.weights": "clip.safetensors"}).clip.weights == "clip.safetensors"


def test_every_number_of_shots_is_a_variant(edited: Edit):
    changes = {"methods.auxiliary": ["af-tokens"], "auxiliary.categories": ["weave"], "methods.plain": []}
    params = edited({**changes, "methods.confident": [], "methods.af-tokens.shots": [0, 4]})
    assert params.methods.names == ("af-tokens", "af-tokens/shots-4")
    assert [split_variant(name) for name in params.methods.names] == [("af-tokens", 0), ("af-tokens", 4)]
    assert params.methods.variants("patchcore") == ("patchcore",)


def test_the_transductive_variant_is_named_and_no_fit_depends_on_it(edited: Edit):
    changes = {"methods.auxiliary": ["cozad-zero"], "auxiliary.categories": ["weave"]}
    plain = edited(changes)
    assert plain.methods.variants("cozad-zero") == ("cozad-zero",)
    both = edited(changes | {"methods.cozad-zero.transductive.enabled": True})
    assert both.methods.variants("cozad-zero") == ("cozad-zero", "cozad-zero/transductive")
    assert split_variant("cozad-zero/transductive") == ("cozad-zero/transductive", 0)
    assert both.settings("cozad-zero") == plain.settings("cozad-zero")
    own_scale = edited({"methods.cozad-zero.standardise": "image"})
    assert own_scale.settings("cozad-zero") != plain.settings("cozad-zero")


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, 512),  # 8 images shared by two tasks, 128 patches of each
        ({"methods.cozad.meta_learning": False}, 1024),
        ({"methods.cozad.prior.patches": 64}, 256),
        ({"methods.cozad.contrastive.max_embeddings": 100}, 100),
    ],
)
def test_cozad_needs_more_patches_than_neighbours(edited: Edit, changes: dict[str, Any], allowed: int):
    """Refused before any image is embedded, not by the loss; only where a method reads the block."""
    changes = changes | {"methods.cozad.contrastive.k_nn": allowed}
    edited(changes)
    edited(changes | {"methods.confident": ["cozad"], "methods.cozad.contrastive.k_nn": allowed - 1})
    zero = {"methods.auxiliary": ["cozad-zero"], "auxiliary.categories": ["weave"]}
    for methods in ({"methods.confident": ["cozad"]}, zero):
        with pytest.raises(ParamsError, match=rf"contrastive.k_nn: must be below the {allowed} patches"):
            edited(changes | methods)
    off = {"methods.confident": ["cozad"], "methods.cozad.contrastive.lambda_cont": 0}
    edited(changes | off)


def test_names_are_in_report_order(edited: Edit):
    chosen = {"plain": ["patchcore", "simplenet"], "confident": ["comet-sn"], "flow": ["comet-nf"]}
    params = edited({f"methods.{profile}": names for profile, names in chosen.items()})
    assert params.methods.names == ("patchcore", "simplenet", "comet-sn", "comet-nf")


def test_missing_file(tmp_path: Path):
    with pytest.raises(ParamsError, match=r"nowhere.yaml: No such file .*; run from the project's root"):
        load_params(tmp_path / "nowhere.yaml")
    with pytest.raises(ParamsError, match=f"{tmp_path}: Is a directory"):
        load_params(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"seeds: [0",
        b"kappa: 1\nkappa: 2\n",
        b"a: \x00",
        b"a: \xff",
        b"a: !!python/object:os.system x",
        b"a: 2021-13-01",
    ],
)
def test_bad_yaml(tmp_path: Path, text: bytes):
    (tmp_path / "params.yaml").write_bytes(text)
    with pytest.raises(ParamsError, match=r"params.yaml: not valid YAML: "):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(("text", "found"), [("", "None"), ("- 1\n", r"\[1\]"), ("kappa", "'kappa'")])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str, found: str):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=f"the file: should be an object, got {found}$"):
        load_params(tmp_path / "params.yaml")


def test_parameters_cannot_be_changed(params: Params):
    def freeze_holds(block: BaseModel) -> int:
        for name in type(block).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(block, name, None)
        values = [getattr(block, name) for name in type(block).model_fields]
        assert not any(isinstance(value, list | dict | set) for value in values)
        return 1 + sum(freeze_holds(value) for value in values if isinstance(value, BaseModel))

    assert freeze_holds(params) == len(BLOCKS)
