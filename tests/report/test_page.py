"""The page as a whole: complete, self-contained, accessible; and the stage that writes it."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_outputs import configure, make_outputs
from projects import commit, git
from toys import ROOT

from adlib.base.errors import UserError
from adlib.base.files import read_json, write_json
from adlib.report import provenance
from adlib.report.build import write_report
from stages import report as stage

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Elements with their attributes, and the text; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def write(folder: Path, chosen, **options) -> str:
    workspace = make_outputs(folder / "outputs", chosen, **options)
    write_report(chosen, workspace, folder / "report", ROOT / "params.yaml")
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def html(params, tmp_path: Path) -> str:
    chosen = configure(params, methods=("simplenet", "patchcore", "comet-sn"))
    return write(tmp_path, chosen, masked=("poly",))


@pytest.fixture
def page(html: str) -> Page:
    return Page(html)


def test_page_refers_to_nothing_outside_itself(html: str, page: Page):
    assert not {"script", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        for key in ("src", "href", "srcset", "action", "data", "poster"):
            if key in attributes:
                assert attributes[key].startswith(("data:", "#")), (tag, attributes[key][:80])
        assert not [key for key in attributes if key.startswith("on")]
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "://" not in html


def test_browser_is_told_to_load_nothing(page: Page):
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy


def test_style_knows_dark_print_and_phone(html: str):
    for condition in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem"):
        assert condition in html
    assert 'name="viewport"' in html


def test_links_and_names_resolve(page: Page):
    ids = Counter(a["id"] for _, a in page.elements if "id" in a)
    assert set(ids.values()) == {1}
    assert {a["href"].removeprefix("#") for a in page.all("a")} <= set(ids)
    charts = [a for a in page.all("svg") if a.get("role") == "img"]
    # (mean, mono, poly) of image AUROC, poly alone of two pixel metrics; 2 curves and 3 histograms each.
    assert len(charts) == 5 + 2 * (2 + 3)
    assert all(name in ids for a in charts for name in a["aria-labelledby"].split())


def test_everything_is_named_for_a_screen_reader(page: Page):
    assert ("html", {"lang": "en"}) in page.elements
    assert all(a["alt"] for a in page.all("img"))
    assert all(a.get("scope") in ("col", "row", "rowgroup") for a in page.all("th"))
    assert all(a.get("role") == "img" or a.get("aria-hidden") == "true" for a in page.all("svg"))
    regions = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert len(regions) == len(page.all("table"))
    assert all(a["aria-label"] and a["tabindex"] == "0" for a in regions)


def test_every_mean_and_spread_of_the_summary_is_on_the_page(page: Page, tmp_path: Path):
    summary = read_json(tmp_path / "report" / "summary.json")
    means = [v for m in summary.values() for c in m.values() for n in c.values() for v in n.values()]
    assert len(means) == 3 * 2 * (3 + 5)
    assert all(f"{mean:.3f} ±" in page.text for mean in means)


def test_pictures_of_every_method_and_weights_where_there_are_any(page: Page):
    tests = [a for a in page.all("img") if "and its heat map" in a["alt"]]
    training = [a for a in page.all("img") if a["alt"].startswith("Training image")]
    assert (len(tests), len(training)) == (2 * 3 * 12, 2 * 6)
    assert "injected: crack , suspicion 3, weight 0.1" in page.text
    assert page.text.count("Found: the highest-scored anomalies") == 6
    assert page.text.count("weight 0.31, 7 anomalous patches, most like n07.png (distance 4.25)") == 2 * 12
    assert sum(a["alt"].endswith("and the training image most like it") for a in tests) == 2 * 12


def test_page_says_so_where_no_method_weighs(params, tmp_path: Path):
    assert "No method in this run gives its training images weights." in write(tmp_path, configure(params))


def test_counts_protocol_and_provenance_are_stated(page: Page):
    for words in (
        "Test images 24 normal, 24 anomalous",
        "Training images 60 to 66",
        "F1-max uses the test labels to choose its threshold",
        "The reserve is withheld from the test set",
        "noise.overlap false",
        "f" * 64,
        "b" * 64,
    ):
        assert words in page.text
    for package in provenance.PACKAGES:
        assert f"{package} " in page.text
    first_line = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first_line in "".join(page.words)


def test_overlap_is_a_warning(params, tmp_path: Path):
    chosen = configure(params)
    chosen = chosen.model_copy(update={"noise": chosen.noise.model_copy(update={"overlap": True})})
    assert "The reserve also stays in the test set" in write(tmp_path, chosen)


def test_methods_trained_elsewhere_name_their_set_and_its_masks(params, tmp_path: Path):
    chosen = configure(params)
    text = Page(write(tmp_path / "plain", chosen)).text
    assert "Auxiliary set" not in text
    assert "518 px" not in text
    chosen = chosen.model_copy(
        update={
            "methods": chosen.methods.model_copy(update={"clip": ("afclip",)}),
            "auxiliary": chosen.auxiliary.model_copy(update={"categories": ("weave", "brushed")}),
            "clip": chosen.clip.model_copy(update={"weights": "random"}),
        }
    )
    text = Page(write(tmp_path / "clip", chosen)).text
    assert "samples (weave, brushed): afclip trained on both of its splits; the test split carries" in text
    assert "ViT-L-14-336, 518 px, random weights: a trial of the route" in text


def test_one_seed_one_level_one_method_still_make_a_page(params, tmp_path: Path):
    chosen = configure(params, categories=("mono",), methods=("patchcore",), levels=(0.1,), seeds=(0,))
    text = Page(write(tmp_path, chosen)).text
    assert "One seed, so no spread is shown." in text
    assert "±" not in text
    assert "Is the leader really ahead?" not in text
    assert "Mean over" not in text


def test_many_categories_start_folded(params, tmp_path: Path):
    chosen = configure(params, categories=("a", "b", "c", "d"), methods=("patchcore",), seeds=(0,))
    details = Page(write(tmp_path, chosen)).all("details")
    # Four tables, sets of curves and galleries, of which the first curves and gallery are open; params.yaml.
    assert len(details) == 13
    assert ["open" in a for a in details].count(True) == 2


def test_names_from_the_data_cannot_become_markup(params, tmp_path: Path):
    chosen = configure(params, categories=("mono",), methods=("patchcore",))
    workspace = make_outputs(tmp_path / "outputs", chosen)
    path = workspace.outputs / "evaluation" / "mono" / "patchcore" / "gallery.json"
    found = read_json(path)
    found["groups"]["hits"][0] |= {"path": '"><script>alert(1)</script>', "defect": "<b>crack"}
    write_json(path, found)
    write_report(chosen, workspace, tmp_path / "report", ROOT / "params.yaml")
    page = Page((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert not page.all("script")
    assert "<b>crack" in page.text


@pytest.mark.parametrize(
    "name",
    [
        "evaluation/poly/simplenet/gallery.json",
        "evaluation/poly/simplenet/images.csv",
        "contaminate/poly.json",
        "timing/poly/simplenet.json",
    ],
)
def test_a_missing_output_is_named_and_nothing_is_written(params, tmp_path: Path, name: str):
    chosen = configure(params)
    workspace = make_outputs(tmp_path / "outputs", chosen)
    (workspace.outputs / name).unlink()
    with pytest.raises(UserError, match=rf"{re.escape(name)}: no such file.*dvc repro"):
        write_report(chosen, workspace, tmp_path / "report", ROOT / "params.yaml")
    assert not (tmp_path / "report").exists()


def test_timings_and_devices_are_shown_as_recorded(params, tmp_path: Path):
    chosen = configure(params, categories=("mono",), methods=("patchcore",), levels=(0.1,), seeds=(0, 1))
    workspace = make_outputs(tmp_path / "outputs", chosen)
    seconds = {
        "noise-0.1_seed-0": {"fit": 10.0, "score": 2.0, "device": "cuda"},
        "noise-0.1_seed-1": {"fit": 20.0, "score": 4.0, "device": "cuda"},
        "noise-0.2_seed-0": {"fit": 900.0, "score": 900.0, "device": "left over from an older run"},
    }
    write_json(workspace.outputs / "timing" / "mono" / "patchcore.json", seconds)
    write_report(chosen, workspace, tmp_path / "report", ROOT / "params.yaml")
    text = Page((tmp_path / "report" / "index.html").read_text(encoding="utf-8")).text
    assert "mono patchcore 15.0 3.0 8.0 cuda" in text
    assert "older run" not in text


def test_stage_writes_all_its_files(params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_outputs(tmp_path / "outputs", params)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    stage.main()
    assert {p.name for p in (tmp_path / "report").iterdir()} == {
        "index.html",
        "results.csv",
        "summary.json",
        "triage.csv",
    }


def test_stage_reports_what_is_missing_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"error: .*dvc repro"):
        stage.main()


def test_git_is_asked_and_its_absence_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = {"dvc.lock", "params.yaml"}
    for name in files:
        (tmp_path / name).write_text("committed")
    revision = commit(tmp_path)
    (_, told), unchanged = provenance.git_state(tmp_path)
    assert re.fullmatch(rf"{revision} \(\d{{4}}-\d\d-\d\d\)", told)
    assert unchanged == ("Uncommitted changes", "none")
    for name in (*files, "new"):  # what git does not track is no change
        (tmp_path / name).write_text("edited")
    git(tmp_path, "add", "dvc.lock")
    assert provenance.git_state(tmp_path)[1] == ("Uncommitted changes", "dvc.lock, params.yaml")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state(tmp_path) == [("Git revision", "unknown")]


def test_a_long_list_of_changes_is_cut(tmp_path: Path):
    for content in ("committed", "edited"):
        for i in range(11):
            (tmp_path / f"f{i:02}").write_text(content)
        if content == "committed":
            commit(tmp_path)
    assert provenance.git_state(tmp_path)[1][1].endswith("f07 and 3 more")


def test_a_failing_command_gives_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert provenance.git(tmp_path, "rev-parse", "--no-such-thing") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git(tmp_path, "--version") is None
