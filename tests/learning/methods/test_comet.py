"""CoMet's losses against formulas written out in the test (eq. 1, 6, 9), and what a fit may touch."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from toys import CPU, toy_features

from adlib.base.errors import UserError
from adlib.config.params import Params
from adlib.learning.equations.confidence import LossWindow, sample_weights, weighted_mean
from adlib.learning.heads.simplenet import SimpleNet
from adlib.learning.methods.comet.prior import density_prior
from adlib.learning.methods.comet.simplenet import SimpleNetLearner
from adlib.learning.methods.comet.sn import fit_comet_sn, spreads
from adlib.learning.methods.comet.strategy import SclLoss, meta_losses, train_comet
from adlib.learning.methods.contract import Fit
from adlib.learning.methods.simplenet.sampling import Draw, PatchSampler, head_optimiser
from adlib.learning.methods.statistics import feature_statistics

MARGIN, FLOOR, THRESHOLD, STRENGTH = 0.5, 0.01, 0.3, 0.02


@pytest.fixture
def head() -> SimpleNet:
    return SimpleNet(6, 5, torch.Generator().manual_seed(0)).double()


def draw(seed: int, B: int = 3, P: int = 4) -> Draw:
    generator = torch.Generator().manual_seed(seed)
    patches, noise = (torch.randn((B, P, 6), dtype=torch.float64, generator=generator) for _ in range(2))
    return Draw(torch.arange(B), torch.arange(P).expand(B, P), patches, 0.5 * noise)


def learner(params: Params, head: SimpleNet, *, margin: float = MARGIN, S: int = 3):
    """The head as CoMet sees it; its features serve only the tests that draw from them."""
    settings = params.methods.simplenet.model_copy(update={"margin": margin, "patches_per_image": 4})
    stored = toy_features(S, 0, width=head.adaptor.in_features)
    view = stored.select(stored.info.ids)
    sampler = PatchSampler(settings, view, 0, CPU)
    return SimpleNetLearner(head, settings, view, sampler, torch.ones((S, view.patches), dtype=torch.float64))


def scl(params: Params, head: SimpleNet, threshold: float = THRESHOLD, margin: float = MARGIN):
    trust = torch.ones(3, dtype=torch.float64)
    return SclLoss(learner(params, head, margin=margin), threshold, FLOOR, trust)


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


def test_loss_by_hand(params: Params, head: SimpleNet):
    loss = scl(params, head)
    ours = loss(loss.theta, draw(1), STRENGTH, update_statistics=False)
    ones = torch.ones(3, 4, dtype=torch.float64)
    torch.testing.assert_close(ours, by_hand(head, draw(1), ones, ones[:, 0]))


def test_loss_with_the_prior_by_hand(params: Params, head: SimpleNet):
    image = torch.tensor([1.0, 0.2, 0.7], dtype=torch.float64)
    patch = torch.rand((3, 9), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    columns = torch.tensor([[0, 3, 5, 8], [1, 2, 3, 4], [8, 7, 6, 0]])
    d = draw(1)._replace(columns=columns)
    plain = learner(params, head)
    doubting = SimpleNetLearner(head, plain.params, plain.features, plain.sampler, patch)
    loss = SclLoss(doubting, THRESHOLD, FLOOR, image)
    ours = loss(loss.theta, d, STRENGTH, update_statistics=False)
    torch.testing.assert_close(ours, by_hand(head, d, patch.gather(1, columns), image))


def test_the_loss_may_be_the_sum_that_eq_3_prints(params: Params, head: SimpleNet):
    mean, total = scl(params, head), replace(scl(params, head), summed=True)
    scores = mean.learner.scores(mean.theta, draw(1)).detach()
    weights = sample_weights(scores, None, FLOOR, threshold=THRESHOLD)
    losses = mean.learner.losses(mean.theta, draw(1), update_statistics=False)
    norm = sum(parameter.square().sum() for parameter in head.parameters())
    ours = total(total.theta, draw(1), STRENGTH, update_statistics=False)
    torch.testing.assert_close(ours, (weights * losses).sum() + STRENGTH * norm)


@pytest.mark.parametrize(("worst", "kept"), [(1.0, 4), (0.5, 2), (0.01, 1)])
def test_the_confidence_score_may_be_that_of_the_worst_patches(
    params: Params, head: SimpleNet, worst: float, kept: int
):
    chosen = replace(learner(params, head), worst=worst)
    a = F.relu(MARGIN - head.eval()(draw(1).patches)).detach()
    expected = a.sort(dim=1, descending=True).values[:, :kept].mean(1)
    theta = dict(head.named_parameters())
    torch.testing.assert_close(chosen.scores(theta, draw(1)).detach(), expected)


@pytest.mark.parametrize("annealed", [True, False])
def test_plain_gradient_descent_with_and_without_annealing(params: Params, head: SimpleNet, annealed: bool):
    """One step moves by the rate times the gradient; annealed, the last of two moves by half of it."""
    settings = params.methods.simplenet.model_copy(
        update={"optimiser": "sgd", "annealed": annealed, "lr_adaptor": 0.1, "lr_discriminator": 0.2}
    )
    rule = head_optimiser(settings, head, 2, weight_decay=0.0)
    for parameter in head.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = head.adaptor.weight.detach().clone(), head.out.weight.detach().clone()
    rule.step()
    torch.testing.assert_close(before[0] - 0.1, head.adaptor.weight.detach())
    torch.testing.assert_close(before[1] - 0.2, head.out.weight.detach())
    rule.step()
    torch.testing.assert_close(before[0] - (0.15 if annealed else 0.2), head.adaptor.weight.detach())


def test_no_gradient_flows_through_the_weights(params: Params, head: SimpleNet):
    loss = scl(params, head)
    scores = loss.learner.scores(loss.theta, draw(1)).detach()
    weights = sample_weights(scores, None, FLOOR, threshold=THRESHOLD)
    assert (weights < 1).any()
    losses = loss.learner.losses(loss.theta, draw(1), update_statistics=False)
    constant = torch.autograd.grad(weighted_mean(losses, weights), head.hidden.weight)
    ours = loss(loss.theta, draw(1), 0.0, update_statistics=False)
    torch.testing.assert_close(torch.autograd.grad(ours, head.hidden.weight), constant)


def test_meta_gradient_equals_finite_differences(params: Params, head: SimpleNet):
    """Eq. 8: the gradient of the loss at theta' with respect to theta, through the inner step."""
    comet = params.methods.comet_sn.model_copy(update={"inner_lr": 0.05, "inner_steps": 2})
    # A threshold above every score keeps the weights at 1: they are constants in the gradient by definition.
    loss = scl(params, head, threshold=100.0, margin=5.0)
    direction = {name: torch.randn_like(value) for name, value in loss.theta.items()}

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


def test_inner_step_leaves_running_statistics_alone_and_the_outer_moves_them(params: Params, head: SimpleNet):
    loss = scl(params, head)
    before = head.norm.running_mean.clone()
    loss(loss.theta, draw(1), STRENGTH, update_statistics=False)
    assert torch.equal(head.norm.running_mean, before)
    loss(loss.theta, draw(1), STRENGTH, update_statistics=True)
    assert not torch.equal(head.norm.running_mean, before)


def test_training_loss_of_a_task_is_taken_before_the_step(params: Params, head: SimpleNet):
    loss = scl(params, head)
    expected = loss(loss.theta, draw(1), STRENGTH, update_statistics=False)
    measured = meta_losses(loss, params.methods.comet_sn, STRENGTH, draw(1), draw(2)).train
    torch.testing.assert_close(measured, expected.detach())


def test_without_meta_learning_validation_is_training(params: Params, head: SimpleNet):
    plain = params.methods.comet_sn.model_copy(update={"meta_learning": False})
    plain = plain.model_copy(update={"epochs": 2})
    trained = train_comet(
        learner(params, head.float()), plain, 1.5, torch.ones(3), seed=0, device=CPU, name="test"
    )
    assert all(epoch["loss"] == epoch["val_loss"] for epoch in trained.log)


def test_confidence_scores_are_non_negative_and_one_an_image(params: Params):
    scores = learner(params, SimpleNet(8, 5, torch.Generator().manual_seed(0)), S=9).all_scores()
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
        params.methods.comet_sn.prior,
        1.5,
        0.01,
        features.select(features.info.ids),
        torch.zeros(8),
        torch.ones(8),
        seed=0,
    )
    assert prior.suspicion[30:].min() > prior.suspicion[:30].median()
    assert prior.image[:30].mean() > prior.image[30:].mean()
    for weights in (prior.image, prior.patch):
        assert ((weights >= 0.01) & (weights <= 1)).all()


OFF = {"data_uncertainty": False, "model_uncertainty": False, "meta_learning": False}


def fit(params: Params, *, images: int = 20, prior: bool = False, **switches: object) -> Fit:
    features, comet = toy_features(images, 0), params.methods.comet_sn
    enabled = comet.prior.model_copy(update={"enabled": prior})
    update = {"prior": enabled, "epochs": 2, "model_uncertainty": True, "meta_learning": True, **switches}
    settings = params.settings("comet-sn").model_copy(update={"comet": comet.model_copy(update=update)})
    return fit_comet_sn(settings, features.select(features.info.ids), 0, CPU)


def test_without_prior_the_paper_alone(toy_params: Params):
    found = fit(toy_params)
    assert found.weights is not None
    assert ((found.weights > 0) & (found.weights <= 1)).all()
    assert len(found.log) == 2


@pytest.mark.parametrize("switch", OFF)
def test_every_part_can_be_switched_off_and_changes_the_fit(toy_params: Params, switch: str):
    with_it, without = fit(toy_params), fit(toy_params, **{switch: False})
    assert not torch.equal(with_it.detector.state()["out.weight"], without.detector.state()["out.weight"])


def test_with_all_parts_off_every_image_is_trusted(toy_params: Params):
    found = fit(toy_params, **OFF)
    assert found.weights is not None
    assert (found.weights == 1).all()


@pytest.mark.parametrize(("images", "prior", "tasks"), [(2, True, 2), (3, False, 4)])
def test_too_few_images_are_the_users_error(toy_params: Params, images: int, prior: bool, tasks: int):
    with pytest.raises(UserError, match="at least"):
        fit(toy_params, images=images, prior=prior, tasks=tasks)


def test_as_few_images_as_the_prior_needs(toy_params: Params):
    assert torch.isfinite(fit(toy_params, images=3, prior=True).detector.state()["out.weight"]).all()


def test_spreads_count_interquartile_ranges_above_the_median():
    torch.testing.assert_close(
        spreads(torch.tensor([0.0, 1.0, 2.0, 3.0, 10.0])), torch.tensor([-1.0, -0.5, 0.0, 0.5, 4.0])
    )
    assert spreads(torch.tensor([3.0, 3.0, 3.0, 7.0, 3.0])).tolist() == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("enabled", [True, False])
def test_suspicion_is_what_density_and_the_detector_say(toy_params: Params, enabled: bool):
    features, comet = toy_features(30, 4), toy_params.methods.comet_sn
    view, prior = features.select(features.info.ids), comet.prior.model_copy(update={"enabled": enabled})
    update = {"comet": comet.model_copy(update={"prior": prior})}
    found = fit_comet_sn(toy_params.settings("comet-sn").model_copy(update=update), view, 0, CPU)
    before = density_prior(prior, 1.5, comet.floor, view, *feature_statistics(view, CPU), 0).suspicion
    after = found.detector.score(view.batch(range(34), CPU)).image
    expected = spreads(after) + (spreads(before) if enabled else 0)
    assert found.suspicion is not None
    torch.testing.assert_close(found.suspicion, expected, atol=1e-3, rtol=1e-3)
    assert found.suspicion[30:].min() > found.suspicion[:30].median()
