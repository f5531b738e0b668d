"""CoZAD's total loss against the formula, its place in MAML, and its switches."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from toys import CPU, toy_features

from adlib.base.errors import UserError
from adlib.base.rng import torch_stream
from adlib.config.methods import ContrastiveParams
from adlib.config.params import Params
from adlib.learning.equations.confidence import iqr_threshold
from adlib.learning.equations.contrastive import nn_contrastive_loss
from adlib.learning.equations.maml import ParamDict
from adlib.learning.heads.simplenet import SimpleNet
from adlib.learning.methods.comet.simplenet import SimpleNetLearner
from adlib.learning.methods.comet.sn import fit_comet_sn
from adlib.learning.methods.comet.strategy import SclLoss, meta_losses, train_comet
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


@pytest.mark.parametrize(("most", "every"), [(200, 1), (12, 1), (11, 2), (7, 2), (6, 2), (5, 3), (2, 6)])
def test_a_step_compares_every_nth_patch_where_there_are_too_many(
    params: Params, head: SimpleNet, most: int, every: int
):
    """Of 12 patches: the term is that of a draw which holds the others only."""
    theta, d = dict(head.named_parameters()), draw(1)
    kept = d._replace(patches=d.patches.flatten(0, 1)[::every][None])
    found = contrast(head, contrastive(params, max_embeddings=most, k_nn=1))(theta, d)
    torch.testing.assert_close(found, contrast(head, contrastive(params, k_nn=1))(theta, kept))


def test_the_term_grows_with_its_weight_and_knows_no_order(params: Params, head: SimpleNet):
    """Without noise, which is drawn in the order of the patches."""
    theta, d = dict(head.named_parameters()), draw(1)

    def term(batch: Draw, **changes: object) -> torch.Tensor:
        return BatchContrast(head, contrastive(params, **changes), 0.0, torch_stream(0, "test"))(theta, batch)

    torch.testing.assert_close(term(d, lambda_cont=0.6), 3 * term(d, lambda_cont=0.2))
    turned = d._replace(patches=d.patches.flip(0, 1))
    torch.testing.assert_close(term(turned), term(d))


def test_more_neighbours_than_patches_is_the_users_error(params: Params, head: SimpleNet):
    term = contrast(head, contrastive(params, k_nn=12))
    with pytest.raises(UserError, match=r"k_nn: must be below the 12 patches of a step, got 12; lower it"):
        term(dict(head.named_parameters()), draw(1))


def fit(params: Params, contrastive: dict | None = None, **switches: object) -> Fit:
    features, cozad = toy_features(20, 0), params.methods.cozad
    view = features.select(features.info.ids)
    update = {
        "prior": cozad.prior.model_copy(update={"enabled": False}),
        "contrastive": cozad.contrastive.model_copy(update=contrastive or {}),
        "epochs": 2,
        **switches,
    }
    settings = params.settings("cozad").model_copy(update={"cozad": cozad.model_copy(update=update)})
    return fit_cozad(settings, view, 0, CPU)


def same(one: Fit, other: Fit) -> bool:
    """Whether two fits are one detector to the bit, and say the same of their images."""
    assert one.weights is not None
    assert other.weights is not None
    theirs = other.detector.state()
    tensors = all(torch.equal(value, theirs[name]) for name, value in one.detector.state().items())
    return tensors and torch.equal(one.weights, other.weights)


def test_without_the_contrastive_term_it_is_comet(toy_params: Params):
    """Of the same strategy: CoMet-SN less what CoZAD does not have."""
    ours = fit(toy_params, contrastive={"lambda_cont": 0.0})
    cozad, comet = toy_params.methods.cozad, toy_params.methods.comet_sn
    shared = {name: getattr(cozad, name) for name in type(cozad).model_fields if hasattr(comet, name)}
    alone = comet.model_copy(
        update={
            **shared,
            "epochs": 2,
            "prior": cozad.prior.model_copy(update={"enabled": False}),
            "distances": comet.distances.model_copy(update={"enabled": False}),
        }
    )
    settings = toy_params.settings("comet-sn").model_copy(
        update={"comet": alone, "head": toy_params.methods.simplenet}
    )
    features = toy_features(20, 0)
    theirs = fit_comet_sn(settings, features.select(features.info.ids), 0, CPU)
    assert same(ours, theirs)
    assert not same(ours, fit(toy_params))


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


def test_hard_filtering_keeps_what_lies_below_the_threshold(toy_params: Params):
    """At least three quarters of the images, since t >= Q3."""
    found = fit(toy_params, hard_filtering=True)
    assert found.weights is not None
    assert found.train_scores is not None
    kept = found.train_scores <= iqr_threshold(found.train_scores, toy_params.kappa)
    assert torch.equal(found.weights, kept.float())
    assert found.weights.mean() >= 0.75


def test_where_no_image_is_doubted_hard_soft_and_no_filtering_are_one(toy_params: Params):
    patient = toy_params.model_copy(update={"kappa": 1e9})
    soft, hard = fit(patient), fit(patient, hard_filtering=True)
    assert same(soft, hard)
    assert same(soft, fit(toy_params, data_uncertainty=False))


class Mean:
    """A head that learns one number: `L_i = (theta - x_i)^2`, and an image's score is its distance from 0.

    `later` multiplies the scores as soon as theta has moved.
    """

    def __init__(self, x: list[float], later: float = 1.0) -> None:
        self.x, self.later = torch.tensor(x), later
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)

    def draw(self, images: torch.Tensor, *, twins: bool = True) -> Draw:
        return Draw(images, images[:, None], self.x[images, None, None], torch.empty(0))

    def losses(self, theta: ParamDict, batch: Draw, *, update_statistics: bool) -> torch.Tensor:
        return (theta["weight"].flatten() - batch.patches.flatten()).square()

    def scores(self, theta: ParamDict, batch: Draw) -> torch.Tensor:
        return batch.patches.flatten().abs() * (self.later if theta["weight"].any() else 1.0)

    def all_scores(self) -> torch.Tensor:
        return self.x.abs()

    def optimiser(self, steps: int, *, weight_decay: float | None) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.module.parameters(), lr=0.1)


def learned(params: Params, learner: Mean, *, hard: bool, epochs: int) -> float:
    """Theta after CoMet without meta-learning, in batches of two images."""
    plain = {"meta_learning": False, "model_uncertainty": False, "data_uncertainty": True}
    strategy = params.methods.cozad.model_copy(update={**plain, "epochs": epochs, "batch_size": 2})
    trust = torch.ones(len(learner.x))
    train_comet(learner, strategy, 1.5, trust, seed=0, device=CPU, name="mean", hard=hard)
    return learner.module.weight.item()


NEAR = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]


def test_what_a_filtered_image_holds_does_not_matter(params: Params):
    """Soft weights leave it a share of `t / a`, and its loss grows with the square of a."""
    hard, soft = (
        [learned(params, Mean([*NEAR, far]), hard=hard, epochs=3) for far in (100.0, 1000.0)]
        for hard in (True, False)
    )
    assert hard[0] == hard[1]
    assert min(NEAR) / 2 < hard[0] < max(NEAR)
    assert abs(soft[0] - soft[1]) > 1


def test_images_are_filtered_for_an_epoch_whatever_theta_does_within_it(params: Params):
    """The scores behind it are those at the epoch's start; soft weights follow theta."""
    hard, soft = (
        [learned(params, Mean([*NEAR, 100.0], later), hard=hard, epochs=1) for later in (1.0, 50.0)]
        for hard in (True, False)
    )
    assert hard[0] == hard[1]
    assert soft[0] != soft[1]
