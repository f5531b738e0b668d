"""Which device `auto` is, and where mixed precision is used; CUDA is pretended."""

from contextlib import nullcontext

import pytest
import torch

from adlib.base.device import mixed_precision, resolve_device
from adlib.base.errors import UserError


@pytest.mark.parametrize(("cards", "found"), [(0, "cpu"), (2, "cuda:0")])
def test_auto_is_the_first_card_if_there_is_one(monkeypatch: pytest.MonkeyPatch, cards: int, found: str):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    assert resolve_device("auto") == torch.device(found)
    assert resolve_device("cpu") == torch.device("cpu")


def test_a_card_that_is_not_here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match=r"cuda:2 is not here \(2 CUDA devices found\)"):
        resolve_device("cuda:2")


def test_mixed_precision_is_bfloat16_on_cards_that_have_it(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(torch, "autocast", lambda *args: asked.append(args))
    for supported in (False, True):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, s=supported: s)
        assert isinstance(mixed_precision(torch.device("cpu")), nullcontext)
        assert isinstance(mixed_precision(torch.device("cuda")), nullcontext) != supported
    assert asked == [("cuda", torch.bfloat16)]
