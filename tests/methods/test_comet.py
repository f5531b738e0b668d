"""CoMet's losses against formulas written out in the test (eq. 1, 6, 9), and what a fit may touch."""

import pytest
import torch
from conftest import CPU, toy_features
from torch.nn import functional as F

from adlib.confidence import LossWindow
from adlib.config import Params
from adlib.heads.simplenet import SimpleNet
from adlib.methods.comet import SclLoss, confidence_scores, fit_comet, meta_losses
from adlib.methods.prior import Prior, density_prior
from adlib.methods.simplenet_head import Draw

MARGIN, FLOOR, THRESHOLD, STRENGTH = 0.5, 0.01, 0.3, 0.02


@pytest.fixture
def head() -> SimpleNet:
    return SimpleNet(6, 5, torch.Generator().manual_seed(0)).double()


def draw(seed: int, B: int = 3, P: int = 4) -> Draw:
    generator = torch.Generator().manual_seed(seed)
    patches, noise = (torch.randn((B, P, 6), dtype=torch.float64, generator=generator) for _ in range(2))
    return Draw(torch.arange(B), torch.arange(P).expand(B, P), patches, 0.5 * noise)


def theta(head: SimpleNet) -> dict[str, torch.Tensor]:
    return dict(head.named_parameters())


def by_hand(head: SimpleNet, d: Draw, patch_weights: torch.Tensor, image_prior: torch.Tensor) -> torch.Tensor:
    """Eq. 6 from the parts: weights at running statistics, losses at batch statistics, weighted means."""
    head.eval()
    a = F.relu(MARGIN - head(d.patches)).mean(1).detach()
    w = torch.clamp(THRESHOLD / a, max=1.0).clamp_min(FLOOR) * image_prior
    head.train()
    normal, perturbed = head(d.patches, d.noise)
    patch = F.relu(MARGIN - normal) + F.relu(MARGIN + perturbed)
    image = (patch * patch_weights).sum(1) / patch_weights.sum(1)
    norm = sum(parameter.square().sum() for parameter in head.parameters())
    return (w * image).sum() / w.sum() + STRENGTH * norm


def test_loss_by_hand(head: SimpleNet):
    loss = SclLoss(head, MARGIN, THRESHOLD, FLOOR)
    ours = loss(theta(head), draw(1), STRENGTH, update_statistics=False)
    ones = torch.ones(3, 4, dtype=torch.float64)
    torch.testing.assert_close(ours, by_hand(head, draw(1), ones, ones[:, 0]))


def test_loss_with_the_prior_by_hand(head: SimpleNet):
    d = draw(1)
    image = torch.tensor([1.0, 0.2, 0.7], dtype=torch.float64)
    patch = torch.rand((3, 9), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    columns = torch.tensor([[0, 3, 5, 8], [1, 2, 3, 4], [8, 7, 6, 0]])
    d = d._replace(columns=columns)
    prior = Prior(columns.numpy(), image, patch, suspicion=image)
    ours = SclLoss(head, MARGIN, THRESHOLD, FLOOR, prior)(theta(head), d, STRENGTH, update_statistics=False)
    torch.testing.assert_close(ours, by_hand(head, d, patch.gather(1, columns), image))


def test_no_gradient_flows_through_the_weights(head: SimpleNet):
    loss = SclLoss(head, MARGIN, THRESHOLD, FLOOR)
    assert not loss.weights(theta(head), draw(1)).requires_grad


def test_meta_gradient_equals_finite_differences(params: Params, head: SimpleNet):
    """Eq. 8: the gradient of the loss at theta' with respect to theta, through the inner step."""
    comet = params.methods.comet_sn.model_copy(update={"inner_lr": 0.05, "inner_steps": 2})
    # A threshold above every score keeps the weights at 1: they are constants in the gradient by definition.
    loss = SclLoss(head, 5.0, 100.0, FLOOR)
    direction = {name: torch.randn_like(value) for name, value in theta(head).items()}

    def value() -> torch.Tensor:
        return meta_losses(loss, comet, STRENGTH, draw(1), draw(2)).val

    value().backward()
    analytic = sum((p.grad * direction[name]).sum() for name, p in head.named_parameters())
    step, ends = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for name, parameter in head.named_parameters():
                parameter += sign * step * direction[name]
        ends.append(value().detach())
    torch.testing.assert_close(analytic, (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-7)


def test_inner_step_leaves_running_statistics_alone_and_the_outer_moves_them(head: SimpleNet):
    loss = SclLoss(head, MARGIN, THRESHOLD, FLOOR)
    before = head.norm.running_mean.clone()
    loss(theta(head), draw(1), STRENGTH, update_statistics=False)
    assert torch.equal(head.norm.running_mean, before)
    loss(theta(head), draw(1), STRENGTH, update_statistics=True)
    assert not torch.equal(head.norm.running_mean, before)


def test_training_loss_of_a_task_is_taken_before_the_step(params: Params, head: SimpleNet):
    loss = SclLoss(head, MARGIN, THRESHOLD, FLOOR)
    expected = loss(theta(head), draw(1), STRENGTH, update_statistics=False)
    measured = meta_losses(loss, params.methods.comet_sn, STRENGTH, draw(1), draw(2)).train
    torch.testing.assert_close(measured, expected.detach())


def test_confidence_scores_are_non_negative_and_one_an_image(params: Params):
    features = toy_features(7, 2)
    head = SimpleNet(8, 5, torch.Generator().manual_seed(0))
    scores = confidence_scores(head, features.select(features.info.ids), MARGIN, CPU)
    assert scores.shape == (9,)
    assert (scores >= 0).all()


def test_loss_window_forgets():
    window = LossWindow(3, 0.005, 0.5)
    assert window.strength() == 0.005
    for pair in [(100.0, 3.0), (1.0, 4.0), (2.0, 4.0), (3.0, 7.0)]:
        window.add(*pair)
    assert window.strength() == pytest.approx(0.005 * (1 + 0.5 * 0.75))
    assert window.summary()["det"] == pytest.approx(0.75)


def test_prior_doubts_planted_anomalies(params: Params):
    features = toy_features(30, 4)
    prior = density_prior(
        params.methods.comet_sn.prior, 1.5, 0.01, features.select(features.info.ids), seed=0, device=CPU
    )
    assert prior.suspicion[30:].min() > prior.suspicion[:30].median()
    assert prior.image[:30].mean() > prior.image[30:].mean()
    for weights in (prior.image, prior.patch):
        assert ((weights >= 0.01) & (weights <= 1)).all()


def test_without_prior_the_paper_alone(toy_params: Params):
    features = toy_features(20, 0)
    settings = toy_params.comet_sn
    off = settings.comet.prior.model_copy(update={"enabled": False})
    comet = settings.comet.model_copy(update={"prior": off, "epochs": 1})
    fit = fit_comet(settings.model_copy(update={"comet": comet}), features.select(features.info.ids), 0, CPU)
    assert fit.weights is not None
    assert torch.isfinite(fit.weights).all()
    assert len(fit.log) == 1
