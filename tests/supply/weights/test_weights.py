"""`adlib weights`: where files come from, their checksums, and whether tensors belong to the network."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from ruamel.yaml import YAML
from safetensors.torch import save_file
from toys import CPU
from typer.testing import CliRunner

from adlib.base.files import sha256_file, write_json
from adlib.cli.app import app
from adlib.config.networks import NetworkParams
from adlib.embedding.networks.backbones import PACKAGED, load_backbone
from adlib.embedding.networks.clip_loading import load_clip
from adlib.embedding.networks.identity import WeightsError
from adlib.supply.downloads import pinned
from adlib.supply.weights import catalogue as catalogue_module
from adlib.supply.weights.architectures import compare
from adlib.supply.weights.catalogue import Weights, WeightsFile, catalogue, find_weights, hub_url

MODEL = "test_efficientnet"
PINS = Path("checksums.json")


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, bytes]]:
    """Files by path, served on the loopback interface; `served["url"]` is where."""
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            data = files.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    files["url"] = f"http://127.0.0.1:{http.server_port}".encode()
    yield files
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return timm.create_model(MODEL, pretrained=False).state_dict()


@pytest.fixture
def url(
    served: dict[str, bytes], state: dict[str, torch.Tensor], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, store: Path,
) -> str:  # fmt: skip
    """A server with good weights at /w.pth and /hub/…; the working folder is empty, the store the test's."""
    torch.save(state, tmp_path / "served.pth")
    base = served["url"].decode()
    content = (tmp_path / "served.pth").read_bytes()
    served |= {"/w.pth": content, "/owner/repository/resolve/main/w.pth": content}
    monkeypatch.setenv("HF_ENDPOINT", base + "/")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return base


def entry(monkeypatch: pytest.MonkeyPatch, *files: WeightsFile) -> None:
    """`tiny` in the catalogue."""
    tiny = Weights(
        title="tiny", architecture=f"timm/{MODEL}", licence="MIT", block="views.backbone",
        settings={"out_indices": [1, 2]}, files=files,
    )  # fmt: skip
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: {"tiny": tiny})


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["weights", *map(str, arguments)], env={"COLUMNS": "160"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def params_of(text: str) -> dict[str, Any]:
    """What `fetch` prints for params.yaml."""
    return YAML(typ="safe").load(text.partition("params.yaml:\n")[2])


def test_the_catalogue_is_sound():
    files = [file for weights in catalogue().values() for file in weights.files]
    assert len({file.file for file in files}) == len(files)
    for file in files:
        if len(file.sha256) == 64:  # OpenAI's addresses hold the whole checksum
            assert all(f"/{file.sha256}/" in url for url in file.urls)
        elif file.sha256:  # torchvision's names hold its first digits
            assert Path(file.file).stem.endswith(f"-{file.sha256}")
        assert all(address.startswith("https://") for address in file.addresses)
        assert all(Path(address).name == file.file for address in file.urls)
    assert {"wide_resnet50_2", "alexnet", "efficientnet_lite0", "clip-vit-l-14-336", "clip-vit-b-16"} <= set(
        catalogue()
    )


@pytest.mark.parametrize("name", catalogue())
def test_every_architecture_can_be_compared(name: str):
    problems = compare({}, find_weights(name).architecture).problems
    assert len(problems) == 1
    assert "tensors missing" in problems[0]


def test_list():
    code, text = run("list")
    assert code == 0
    assert all(f" {name} " in text for name in catalogue())
    (line,) = [line for line in text.splitlines() if "efficientnet_lite0" in line]
    assert "package" in line
    assert "yes" in line


def test_a_package():
    code, text = run("fetch", "efficientnet_lite0")
    assert code == 0
    assert str(PACKAGED["efficientnet_lite0"].path()) in text
    assert "fits timm/tf_efficientnet_lite0: 294 tensors" in text
    assert ": begins as published" in text
    block = params_of(text)["backbone"]
    assert block == {
        "name": "efficientnet_lite0", "out_indices": [2, 3], "weights": "package", "sha256": None
    }  # fmt: skip
    assert run("verify", "efficientnet_lite0")[0] == 0


def test_the_printed_lines_load(url: str, store: Path, monkeypatch: pytest.MonkeyPatch):
    entry(monkeypatch, WeightsFile(file="w.pth", urls=(f"{url}/w.pth",)))
    code, text = run("fetch", "tiny")
    assert code == 0
    assert (store / "weights" / "w.pth").is_file()
    block = params_of(text)["views"]["backbone"]
    params = NetworkParams.model_validate(block | {"out_indices": tuple(block["out_indices"])})
    images = torch.from_numpy(np.zeros((1, 32, 32, 3), np.uint8))
    assert len(load_backbone(params, CPU).levels(images)) == 2
    code, text = run("verify", "tiny")
    assert code == 0
    assert "as recorded in checksums.json" in text


@pytest.mark.parametrize("kind", ["url", "hub"])
def test_an_architecture_that_is_in_no_catalogue(url: str, kind: str, store: Path):
    source = {"url": f"{url}/w.pth", "hub": "owner/repository/w.pth"}[kind]
    code, text = run("fetch", f"timm/{MODEL}", f"--{kind}", source)
    assert code == 0
    assert params_of(text)["backbone"]["name"] == MODEL
    name = {"url": "w.pth", "hub": "owner--repository--w.pth"}[kind]
    assert pinned(PINS) == {name: sha256_file(store / "weights" / name)}


def test_a_local_file_stays_where_it_is(url: str, store: Path, state: dict[str, torch.Tensor]):
    save_file(state, "mine.safetensors")
    code, text = run("fetch", f"timm/{MODEL}", "--file", "mine.safetensors")
    assert code == 0
    assert params_of(text)["backbone"]["weights"] == str(Path("mine.safetensors").absolute())
    assert not store.exists()
    code, text = run("verify", f"timm/{MODEL}", "--file", "mine.safetensors", "--sha256", "0" * 64)
    assert code == 1
    assert f"expected {'0' * 64}; fetch it again" in text


def test_alternatives_are_tried_in_order(url: str, store: Path, monkeypatch: pytest.MonkeyPatch):
    entry(
        monkeypatch,
        WeightsFile(file="gone.pth", urls=(f"{url}/gone.pth",)),
        WeightsFile(file="w.pth", hub="owner/repository/w.pth"),
    )
    assert run("fetch", "tiny")[0] == 0
    assert [path.name for path in (store / "weights").iterdir()] == ["w.pth"]


def test_none_of_the_addresses(url: str, monkeypatch: pytest.MonkeyPatch):
    entry(monkeypatch, WeightsFile(file="gone.pth", urls=(f"{url}/gone.pth",)))
    code, text = run("fetch", "tiny")
    assert code == 1
    assert "the server answers 404" in text
    assert "fetch it with a browser and name it with --file" in text


@pytest.mark.parametrize("published", ["0" * 8, "0" * 64])
def test_a_wrong_checksum_keeps_nothing(
    url: str, store: Path, published: str, monkeypatch: pytest.MonkeyPatch
):
    entry(monkeypatch, WeightsFile(file="w.pth", urls=(f"{url}/w.pth",), sha256=published))
    code, text = run("fetch", "tiny")
    assert code == 1
    assert "it was not kept" in text
    assert list((store / "weights").iterdir()) == []
    assert not PINS.exists()


def test_a_recorded_checksum_holds(url: str, store: Path, monkeypatch: pytest.MonkeyPatch):
    entry(monkeypatch, WeightsFile(file="w.pth", urls=(f"{url}/w.pth",)))
    write_json(PINS, {"w.pth": "1" * 64})
    code, text = run("fetch", "tiny")
    assert code == 1
    assert f"another sha256 than {'1' * 64}" in text


def test_verify_sees_a_changed_file(url: str, store: Path, monkeypatch: pytest.MonkeyPatch):
    entry(monkeypatch, WeightsFile(file="w.pth", urls=(f"{url}/w.pth",)))
    code, text = run("verify", "tiny")
    assert code == 1
    assert "tiny is not here; `adlib weights fetch tiny` brings it" in text
    run("fetch", "tiny")
    with (store / "weights" / "w.pth").open("ab") as file:
        file.write(b"x")
    code, text = run("verify", "tiny")
    assert code == 1
    assert "expected " + pinned(PINS)["w.pth"] in text


def test_tensors_of_another_network(url: str, state: dict[str, torch.Tensor]):
    changed = dict(state)
    del changed["bn1.weight"]
    changed["conv_stem.weight"] = torch.zeros(3)
    changed["bn1.bias"] = torch.full_like(state["bn1.bias"], torch.nan)
    changed["extra"] = torch.zeros(1)
    save_file(changed, "changed.safetensors")
    code, text = run("verify", f"timm/{MODEL}", "--file", "changed.safetensors")
    assert code == 1
    shape = tuple(state["conv_stem.weight"].shape)
    for problem in (
        "1 tensor missing, the first is bn1.weight",
        "1 tensor of no use here, the first is extra",
        f"1 tensor of another shape, the first is conv_stem.weight: (3,), not {shape}",
        "1 tensor not finite, the first is bn1.bias",
    ):
        assert problem in text


def test_the_classifier_does_not_matter(url: str, state: dict[str, torch.Tensor]):
    save_file({name: t for name, t in state.items() if not name.startswith("classifier.")}, "a.safetensors")
    code, text = run("verify", f"timm/{MODEL}", "--file", "a.safetensors")
    assert code == 0
    assert f"{len(state) - 2} tensors" in text


def test_clip_in_openais_layout(url: str, tmp_path: Path):
    """Its bookkeeping entries are no tensors too many; the printed block is the one that reads CLIP."""
    config = {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (tmp_path / "tiny-fetched.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    state = load_clip("tiny-fetched", "random").model.state_dict()
    sizes = {"input_resolution": 16, "context_length": 8, "vocab_size": 49408}
    save_file(state | {name: torch.tensor(size) for name, size in sizes.items()}, "clip.safetensors")
    code, text = run("fetch", "open_clip/tiny-fetched", "--file", "clip.safetensors")
    assert code == 0
    assert f"fits open_clip/tiny-fetched: {len(state)} tensors" in text
    block = params_of(text)["clip"]
    assert load_clip(block["name"], block["weights"], block["sha256"]).quick_gelu
    code, text = run("verify", "open_clip/ViT-B-32", "--file", "clip.safetensors")
    assert code == 1
    assert "do not fit open_clip/ViT-B-32" in text


class Explosive:
    """A pickle that would write a file when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def test_nothing_in_a_file_is_run(url: str):
    torch.save({"weight": Explosive()}, "bad.pth")
    code, text = run("verify", f"timm/{MODEL}", "--file", "bad.pth")
    assert code == 1
    assert "no named tensors that can be read without running code" in text
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "nothing"], "nothing: no such weights; allowed: wide_resnet50_2"),
        (["fetch", "keras/x"], "keras/x: no such weights"),
        (["fetch", f"timm/{MODEL}"], "name --file, --url or --hub; no address is known"),
        (["fetch", f"timm/{MODEL}", "--hub", "owner/repository"], "not of the form owner/repository/file"),
        (["fetch", f"timm/{MODEL}", "--url", "http://127.0.0.1/"], "http://127.0.0.1/ names no file"),
        (["fetch", f"timm/{MODEL}", "--file", "nowhere.pth"], "nowhere.pth; `adlib weights fetch` brings it"),
        (["verify", "timm/nothing", "--file", "served"], "timm has no model 'nothing'"),
        (["verify", "torchvision/nothing", "--file", "served"], "torchvision has no model 'nothing'"),
    ],
)
def test_arguments_that_cannot_be_used(url: str, arguments: list[str], message: str):
    arguments = ["../served.pth" if argument == "served" else argument for argument in arguments]
    code, text = run(*arguments)
    assert code == 1
    assert message in text.replace("\n", " ")


def test_without_a_store(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ADLIB_CACHE", "off")
    code, text = run("fetch", f"timm/{MODEL}", "--url", f"{url}/w.pth")
    assert code == 1
    assert "ADLIB_CACHE=off; set it to a folder, or use --to" in text
    assert run("fetch", f"timm/{MODEL}", "--url", f"{url}/w.pth", "--to", "here")[0] == 0
    assert [path.name for path in Path("here").iterdir()] == ["w.pth"]
    assert run("list")[0] == 0


def test_the_hubs_address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert hub_url("a/b/c/d.pt") == "https://huggingface.co/a/b/resolve/main/c/d.pt"
    with pytest.raises(WeightsError, match="not of the form owner/repository/file"):
        hub_url("a//c")
