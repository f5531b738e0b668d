"""CoZAD's total loss against the formula, its place in MAML, and its switches."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from toys import CPU, toy_features

from adlib.base.errors import UserError
from adlib.base.rng import torch_stream
from adlib.config.methods import ContrastiveParams
from adlib.config.params import Params
from adlib.learning.equations.confidence import iqr_threshold
from adlib.learning.equations.contrastive import nn_contrastive_loss
from adlib.learning.heads.simplenet import SimpleNet
from adlib.learning.methods.comet.simplenet import SimpleNetLearner
from adlib.learning.methods.comet.strategy import SclLoss, meta_losses
from adlib.learning.methods.contract import Fit
from adlib.learning.methods.cozad.fit import BatchContrast, fit_cozad
from adlib.learning.methods.simplenet.sampling import Draw, PatchSampler

SIGMA, STRENGTH = 0.3, 0.02


@pytest.fixture
def head() -> SimpleNet:
    net = SimpleNet(6, 5, torch.Generator().manual_seed(0)).double()
    net.mean.fill_(0.2)
    net.std.fill_(1.5)
    with torch.no_grad():
        net.adaptor.weight += 0.1 * torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    return net


def draw(seed: int, B: int = 3, P: int = 4) -> Draw:
    generator = torch.Generator().manual_seed(seed)
    patches, noise = (torch.randn((B, P, 6), dtype=torch.float64, generator=generator) for _ in range(2))
    return Draw(torch.arange(B), torch.arange(P).expand(B, P), patches, noise)


def contrastive(params: Params, **changes: object) -> ContrastiveParams:
    return params.methods.cozad.contrastive.model_copy(update=changes)


def contrast(head: SimpleNet, params: ContrastiveParams) -> BatchContrast:
    return BatchContrast(head, params, SIGMA, torch_stream(0, "test"))


def test_batch_term_by_hand(params: Params, head: SimpleNet):
    """lambda_cont times the mean of eq. 2 over all patches' q = G(o), with delta of the head's sigma."""
    chosen = contrastive(params, lambda_cont=0.5, k_nn=2, tau=0.3)
    d = draw(1)
    q = head.adapt(d.patches).flatten(0, 1)
    delta = torch.randn(q.shape, generator=torch_stream(0, "test"), dtype=q.dtype) * SIGMA
    expected = 0.5 * nn_contrastive_loss(q, q + delta, 2, 0.3).mean()
    torch.testing.assert_close(contrast(head, chosen)(dict(head.named_parameters()), d), expected)


def loss(params: Params, head: SimpleNet, term: BatchContrast | None) -> SclLoss:
    settings = params.methods.simplenet.model_copy(update={"margin": 0.5})
    stored = toy_features(3, 0, width=6)
    view = stored.select(stored.info.ids)
    trust = torch.ones((3, view.patches), dtype=torch.float64)
    sampler = PatchSampler(settings, view, 0, CPU)
    learner = SimpleNetLearner(head, settings, view, sampler, trust)
    weights = torch.tensor([1.0, 0.2, 0.7], dtype=torch.float64)
    return SclLoss(learner, 0.3, 0.01, weights, batch_term=term)


def test_total_loss_is_scl_plus_the_batch_term(params: Params, head: SimpleNet):
    """Eq. 4, whatever the weights of the images."""
    chosen = contrastive(params)
    plain = loss(params, head, None)
    total = loss(params, head, contrast(head, chosen))
    expected = plain(plain.theta, draw(1), STRENGTH, update_statistics=False) + contrast(head, chosen)(
        plain.theta, draw(1)
    )
    torch.testing.assert_close(total(total.theta, draw(1), STRENGTH, update_statistics=False), expected)


@pytest.mark.parametrize("chunk_size", [5, 100])
def test_meta_gradient_of_the_total_loss_equals_finite_differences(
    params: Params, head: SimpleNet, chunk_size: int
):
    """Both loops contain the contrastive term, and the outer gradient passes through the inner one."""
    strategy = params.methods.cozad.model_copy(update={"inner_lr": 0.05})
    chosen = contrastive(params, tau=0.5, k_nn=2, chunk_size=chunk_size)
    # A threshold above every score keeps the weights constant.
    weights = {name: torch.randn_like(value) for name, value in head.named_parameters()}

    def value() -> torch.Tensor:
        total = replace(loss(params, head, contrast(head, chosen)), threshold=100.0)
        return meta_losses(total, strategy, STRENGTH, draw(1), draw(2)).val

    value().backward()
    analytic = sum((p.grad * weights[name]).sum() for name, p in head.named_parameters())
    step, ends = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for name, parameter in head.named_parameters():
                parameter += sign * step * weights[name]
        ends.append(value().detach())
    torch.testing.assert_close(analytic, (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-7)


def test_a_step_compares_at_most_max_embeddings(
    params: Params, head: SimpleNet, monkeypatch: pytest.MonkeyPatch
):
    seen = []

    def note(x: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        seen.append(len(x))
        return x.sum(1)

    monkeypatch.setattr("adlib.learning.methods.cozad.fit.nn_contrastive_loss", note)
    theta = dict(head.named_parameters())
    for most in (200, 12, 11, 7):
        contrast(head, contrastive(params, max_embeddings=most, k_nn=1))(theta, draw(1))
    assert seen == [12, 12, 6, 6]


def test_more_neighbours_than_patches_is_the_users_error(params: Params, head: SimpleNet):
    term = contrast(head, contrastive(params, k_nn=12))
    with pytest.raises(UserError, match=r"k_nn: must be below the 12 patches of a step, got 12; lower it"):
        term(dict(head.named_parameters()), draw(1))


def fit(params: Params, contrastive: dict | None = None, **switches: object) -> Fit:
    features, cozad = toy_features(20, 0), params.methods.cozad
    update = {
        "prior": cozad.prior.model_copy(update={"enabled": False}),
        "contrastive": cozad.contrastive.model_copy(update=contrastive or {}),
        "epochs": 2,
        **switches,
    }
    settings = params.settings("cozad").model_copy(update={"cozad": cozad.model_copy(update=update)})
    return fit_cozad(settings, features.select(features.info.ids), 0, CPU)


@pytest.mark.parametrize(
    "switch",
    [
        {"data_uncertainty": False},
        {"model_uncertainty": False},
        {"meta_learning": False},
        {"hard_filtering": True},
        {"contrastive": {"lambda_cont": 0.0}},
        {"contrastive": {"k_nn": 0}},
    ],
)
def test_every_setting_of_the_ablations_changes_the_fit(toy_params: Params, switch: dict):
    whole, part = fit(toy_params), fit(toy_params, **switch)
    assert not torch.equal(whole.detector.state()["out.weight"], part.detector.state()["out.weight"])
    assert torch.isfinite(part.detector.state()["out.weight"]).all()


def test_hard_filtering_weighs_with_zero_or_one(toy_params: Params):
    weights = fit(toy_params, hard_filtering=True).weights
    assert weights is not None
    assert set(weights.tolist()) <= {0.0, 1.0}


def test_hard_filtering_removes_images_for_an_epoch(toy_params: Params, monkeypatch: pytest.MonkeyPatch):
    """Whatever theta does within it: t >= Q3, so that at least three quarters of the images always remain."""
    epochs = []

    def note(learner: SimpleNetLearner, threshold: float, floor: float, kept: torch.Tensor, *rest: Any):
        epochs.append((learner.all_scores(), threshold, kept))
        return SclLoss(learner, threshold, floor, kept, *rest)

    monkeypatch.setattr("adlib.learning.methods.comet.strategy.SclLoss", note)
    fit(toy_params, hard_filtering=True, epochs=4)
    assert len(epochs) == 4
    for scores, threshold, kept in epochs:
        assert threshold == float("inf")
        assert torch.equal(kept, (scores <= iqr_threshold(scores, toy_params.kappa)).float())
        assert kept.mean() >= 0.75
