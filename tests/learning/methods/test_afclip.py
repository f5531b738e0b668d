"""AF-CLIP on a tiny CLIP: scores, losses and a step against formulas written out in the test, in float64."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_clip import BLOCKS, DIM, naive_attention, naive_norm, naive_prompts, tiny_clip
from torch import Tensor
from torch.nn import functional as F

from adlib.config.methods import AfClipParams
from adlib.config.params import Params
from adlib.embedding.networks.clip import Clip
from adlib.embedding.networks.clip_loading import load_clip
from adlib.learning.heads.prompts import STATES
from adlib.learning.methods.afclip.clip import ClipHead, frugal, new_head, restore_afclip
from adlib.learning.methods.afclip.detector import TokenDetector, new_detector, training_loss

SIDE = 4
N = SIDE * SIDE
ROWS = len(BLOCKS) * (1 + N)
IMAGES = 3


@dataclass
class Tiny:
    """A head in float64 with prompts through the frozen tower, and a batch for it."""

    clip: Clip
    head: ClipHead
    params: AfClipParams
    text: Tensor
    rows: Tensor
    anomalous: Tensor
    mask: Tensor

    @property
    def detector(self) -> TokenDetector:
        return new_detector(self.head, self.params)

    @property
    def trained(self) -> dict[str, Tensor]:
        return dict(self.head.named_parameters())

    def states(self) -> Tensor:
        return self.head.prompts(self.clip.text, self.text)

    def loss(self, **changes: Any) -> Tensor:
        params = self.params.model_copy(update=changes)
        batch = (self.rows, self.anomalous, self.mask)
        adapt = frugal(self.head, params)
        return training_loss(self.detector, params, *batch, states=self.states(), adapt=adapt)


@pytest.fixture
def tiny(tmp_path: Path, params: Params) -> Tiny:
    block = tiny_clip(tmp_path / "clip")
    clip = load_clip(block.name, str(block.weights), block.sha256)
    assert clip.quick_gelu, "the state dict is OpenAI's"
    clip.model.double()
    settings = params.methods.afclip.model_copy(
        update={"heads": 2, "head_dim": 4, "prompt_length": 5, "prompt_std": 0.5, "gamma": 2.0}
    )
    head = new_head(settings, clip.model.visual, clip.text, len(BLOCKS), seed=3).double()
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(IMAGES, ROWS, DIM, dtype=torch.float64, generator=generator)
    mask = torch.rand(IMAGES, N, generator=generator) > 0.7
    mask[0] = False
    found = Tiny(clip, head, settings, clip.tokenise(STATES), rows, mask.any(1), mask)
    head.states.copy_(found.states().detach())
    return found


def naive_aggregate(tokens: Tensor, window: int, sigma: float) -> Tensor:
    """`(1 + N, D)`: every patch the weighted mean of its window, zeros outside."""
    half, total = window // 2, 0.0
    for dy in range(-half, half + 1):
        for dx in range(-half, half + 1):
            total += math.exp(-(dy * dy + dx * dx) / (2 * sigma**2))
    found = [tokens[0]]
    for p in range(N):
        mean = torch.zeros(DIM, dtype=torch.float64)
        for q in range(N):
            dy, dx = q // SIDE - p // SIDE, q % SIDE - p % SIDE
            if max(abs(dy), abs(dx)) <= half:
                mean = mean + math.exp(-(dy * dy + dx * dx) / (2 * sigma**2)) / total * tokens[1 + q]
        found.append(mean)
    return torch.stack(found)


def naive_scales(tiny: Tiny, row: Tensor) -> list[Tensor]:
    """One aggregated `(1 + N, D)` a block and window."""
    blocks = [row[i * (1 + N) : (i + 1) * (1 + N)] for i in range(len(BLOCKS))]
    return [naive_aggregate(block, r, tiny.params.window_sigma) for block in blocks for r in (1, 3, 5)]


def naive_tokens(tiny: Tiny, row: Tensor, p: dict[str, Tensor]) -> list[Tensor]:
    """The projected tokens v `(1 + N, E)` of each block and window, at the parameters `p`."""
    visual, found = tiny.clip.model.visual, []
    for tokens in naive_scales(tiny, row):
        x = naive_norm(tokens, p["adaptor.norm.weight"], p["adaptor.norm.bias"])
        qkv = (p[f"adaptor.to_{name}.weight"] for name in "qkv")
        attended = naive_attention(x, *qkv, heads=2, mask=0.0)
        x = attended @ p["adaptor.to_out.weight"].T + p["adaptor.to_out.bias"]
        found.append(naive_norm(x, visual.ln_post.weight, visual.ln_post.bias) @ visual.proj)
    return found


def naive_probability(tokens: list[Tensor], states: Tensor) -> Tensor:
    """`(1 + N,)`: eq. 9-10, token by token."""
    found = []
    for t in range(1 + N):
        s = [sum(v[t] @ state / v[t].norm() / state.norm() for v in tokens) / 0.07 for state in states]
        found.append(torch.exp(s[1]) / (torch.exp(s[0]) + torch.exp(s[1])))
    return torch.stack(found)


def naive_losses(tiny: Tiny, p: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Classification, segmentation and alignment, eq. 11-14."""

    def focal(probability: Tensor, y: bool) -> Tensor:
        p_t = probability if y else 1 - probability
        return -((1 - p_t) ** tiny.params.gamma) * p_t.log()

    states = naive_prompts(tiny.clip.text, p["prompts.vectors"], tiny.text)
    v = [naive_tokens(tiny, row, p) for row in tiny.rows]
    P = [naive_probability(tokens, states) for tokens in v]
    y, M = tiny.anomalous.tolist(), tiny.mask.tolist()
    every = [(b, n) for b in range(IMAGES) for n in range(N)]
    classification = sum(focal(P[b][0], y[b]) for b in range(IMAGES)) / IMAGES
    segmentation = sum(focal(P[b][1 + n], M[b][n]) + (P[b][1 + n] - float(M[b][n])).abs() for b, n in every)
    alignment = []
    for i in range(len(v[0])):
        mixed, same = [], []
        for b in range(IMAGES):
            for n in range(N):
                for m in range(N):
                    cosine = F.cosine_similarity(v[b][i][1 + n], v[b][i][1 + m], dim=0)
                    (same if M[b][n] == M[b][m] else mixed).append(cosine)
        alignment.append((sum(mixed) / len(mixed) - sum(same) / len(same)).clamp_min(0))
    return classification, segmentation / len(every), sum(alignment) / len(alignment)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_zero_shot_scores_equal_the_formulas(tiny: Tiny):
    scores = tiny.detector.score(tiny.rows)
    states = naive_prompts(tiny.clip.text, tiny.head.prompts.vectors, tiny.text)
    with torch.no_grad():
        expected = [naive_probability(naive_tokens(tiny, row, tiny.trained), states) for row in tiny.rows]
    close(scores.image, torch.stack(expected)[:, 0])
    close(scores.patch, torch.stack(expected)[:, 1:])
    assert scores.patch.std() > 0.01, "the formulas are tried where they vary"


def test_few_shot_scores_equal_the_formulas(tiny: Tiny):
    shots, test = tiny.rows[:2], tiny.rows[2]
    scores = tiny.detector.with_shots(shots).score(test[None])
    bank = [naive_scales(tiny, shot) for shot in shots]
    a = torch.zeros(N, dtype=torch.float64)
    for i, tokens in enumerate(naive_scales(tiny, test)):
        normal = torch.cat([scales[i][1:] for scales in bank])
        cosines = F.normalize(tokens[1:], dim=1) @ F.normalize(normal, dim=1).T
        a += ((1 - cosines) / 2).amin(1) / 12
    zero = tiny.detector.score(test[None])
    close(scores.image[0], a.max() + 0.1 * zero.image[0])
    close(scores.patch[0], a + 0.1 * zero.patch[0])


def test_each_loss_equals_the_formulas(tiny: Tiny):
    with torch.no_grad():
        classification, segmentation, alignment = naive_losses(tiny, tiny.trained)
    assert alignment > 1e-4, "the clamp is not all there is"
    first = tiny.loss(lambda1=0.0, lambda2=0.0)
    close(first, classification)
    close(tiny.loss(lambda1=1.0, lambda2=0.0) - first, segmentation)
    close(tiny.loss(lambda1=0.0, lambda2=1.0) - first, alignment)
    close(tiny.loss(lambda1=0.3, lambda2=2.0), classification + 0.3 * segmentation + 2 * alignment)


def test_one_step_equals_the_naive_one_and_leaves_the_towers_alone(tiny: Tiny):
    before = {name: tensor.clone() for name, tensor in tiny.clip.model.state_dict().items()}
    kept = {name: tensor.clone() for name, tensor in tiny.head.projection.state_dict().items()}
    parameters = tiny.trained
    assert {name.split(".")[0] for name in parameters} == {"adaptor", "prompts"}
    gradients = torch.autograd.grad(sum(naive_losses(tiny, parameters)), list(parameters.values()))
    # Adam's first step moves every weight by lr * g / (|g| + eps).
    expected = [p.detach() - 1e-4 * g / (g.abs() + 1e-8) for p, g in zip(parameters.values(), gradients)]  # noqa: B905
    adam = torch.optim.Adam(parameters.values(), lr=1e-4, betas=(0.5, 0.999))
    tiny.loss().backward()
    for parameter, gradient in zip(parameters.values(), gradients, strict=True):
        assert parameter.grad is not None
        close(parameter.grad, gradient)
    adam.step()
    for parameter, wanted in zip(parameters.values(), expected, strict=True):
        close(parameter.detach(), wanted)
    assert not any(p.requires_grad or p.grad is not None for p in tiny.clip.model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny.clip.model.state_dict().items())
    assert all(torch.equal(t, kept[name]) for name, t in tiny.head.projection.state_dict().items())


def test_checkpointing_changes_no_gradient(tiny: Tiny):
    plain = torch.autograd.grad(tiny.loss(), list(tiny.trained.values()))
    frugal = torch.autograd.grad(tiny.loss(checkpointing=True), list(tiny.trained.values()))
    for found, expected in zip(frugal, plain, strict=True):
        close(found, expected)


def test_the_head_is_compiled_if_params_say_so(tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    compiled: list[object] = []

    def fake(head: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        compiled.append(head)
        return lambda tokens: head(tokens)

    monkeypatch.setattr(torch, "compile", fake)
    close(tiny.loss(compile=True, checkpointing=True), tiny.loss())
    assert compiled == [tiny.head]


def test_a_saved_model_scores_without_clip(tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    """Twelve banks: their order is that of their numbers, not of their names."""
    tiny.head.projection.eps = 1e-3
    for detector in (tiny.detector, tiny.detector.with_shots(tiny.rows[:1])):
        state = {name: t.float() if t.ndim > 1 else t for name, t in detector.state().items()}
        expected = detector.score(tiny.rows)
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "open_clip", None)
            restored = restore_afclip(state)
            found = restored.score(tiny.rows.float())
        torch.testing.assert_close(found.image, expected.image.float(), rtol=0, atol=1e-4)
        torch.testing.assert_close(found.patch, expected.patch.float(), rtol=0, atol=1e-4)
        assert len(restored.banks) == len(detector.banks)
        assert restored.zero_shot_weight == 0.1
        assert restored.head.projection.eps == 1e-3  # pyright: ignore[reportAttributeAccessIssue]
    assert len(restored.banks) == 12


def test_trainable_parameters_are_the_papers():
    """ViT-L/14@336 without weights: 2,109,440."""
    import open_clip

    from adlib.learning.heads.adaptor import AnomalyAdaptor
    from adlib.learning.heads.projection import ClipProjection
    from adlib.learning.heads.prompts import PromptPrefix

    config = open_clip.get_model_config("ViT-L-14-336")
    dim = config["vision_cfg"]["width"]
    with torch.device("meta"):
        head = ClipHead(
            AnomalyAdaptor(dim),
            PromptPrefix(config["text_cfg"]["width"]),
            ClipProjection(dim, config["embed_dim"]),
            4,
        )
    assert sum(p.numel() for p in head.parameters()) == 2_109_440
