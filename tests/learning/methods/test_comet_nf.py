"""What CoMet needs of DifferNet's flow, against formulas written out in the test (eq. 1, 6, 9, 11)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toys import CPU, toy_features

from adlib.base.errors import UserError
from adlib.base.files import write_json
from adlib.config.methods import FlowHead
from adlib.config.params import Params
from adlib.data.rows import INFO, ROWS, FeatureView
from adlib.data.splits import Splits, TrainingSet, write_splits
from adlib.fits.files import load_scores
from adlib.fits.folder import load_detector
from adlib.fits.train import train
from adlib.learning.heads.flow import Flow
from adlib.learning.methods.comet.nf import FlowLearner, fit_comet_nf
from adlib.learning.methods.comet.strategy import SclLoss, meta_losses
from adlib.learning.methods.flow.differnet import fit_differnet
from adlib.learning.methods.flow.sampling import FlowDetector, ViewDraw, ViewSampler, new_flow

FLOOR, STRENGTH = 0.01, 0.02


@pytest.fixture
def view() -> FeatureView:
    features = toy_features(9, 0, patches=4, width=6)
    return features.select(features.info.ids)


@pytest.fixture
def head(params: Params) -> FlowHead:
    return params.methods.differnet.model_copy(update={"blocks": 2, "hidden": 8, "views_per_image": 3})


@pytest.fixture
def learner(head: FlowHead, view: FeatureView) -> FlowLearner:
    flow = Flow(6, 2, 8, 3.0, torch.Generator().manual_seed(0)).double()
    return FlowLearner(flow, head, view, ViewSampler(head, view, 0, CPU))


def theta(learner: FlowLearner) -> dict[str, torch.Tensor]:
    return dict(learner.module.named_parameters())


def draw(seed: int, B: int = 3, V: int = 2) -> ViewDraw:
    generator = torch.Generator().manual_seed(seed)
    return ViewDraw(torch.arange(B), torch.randn((B, V, 6), dtype=torch.float64, generator=generator))


def test_losses_and_scores_by_hand(learner: FlowLearner):
    batch = draw(1)
    for i, image in enumerate(batch.views):
        losses, scores = [], []
        for x in image:
            z, log_det = learner.module(x[None])
            losses.append(((z**2).sum() / 2 - log_det[0]) / 6)
            scores.append((z**2).mean())
        found = learner.losses(theta(learner), batch, update_statistics=True)
        torch.testing.assert_close(found[i], sum(losses) / 2)
        torch.testing.assert_close(learner.scores(theta(learner), batch)[i], sum(scores) / 2)


def test_soft_confident_loss_by_hand(learner: FlowLearner):
    batch, trust = draw(1), torch.tensor([1.0, 0.5, 1.0], dtype=torch.float64)
    scores = learner.scores(theta(learner), batch).detach()
    threshold = float(scores.median())
    w = trust * torch.clamp(threshold / scores, max=1.0)
    losses = learner.losses(theta(learner), batch, update_statistics=True)
    norm = sum(parameter.square().sum() for parameter in learner.module.parameters())
    expected = (w * losses).sum() / w.sum() + STRENGTH * norm
    ours = SclLoss(learner, threshold, FLOOR, trust)(theta(learner), batch, STRENGTH, update_statistics=True)
    torch.testing.assert_close(ours, expected)


def test_meta_gradient_equals_finite_differences(params: Params, learner: FlowLearner):
    """Eq. 8 through the flow: the gradient of the loss at theta' with respect to theta."""
    strategy = params.methods.comet_nf.model_copy(update={"inner_lr": 0.05, "inner_steps": 2})
    # A threshold above every score keeps the weights at 1: they are constants in the gradient by definition.
    loss = SclLoss(learner, 1e6, FLOOR, torch.ones(3))
    direction = {name: torch.randn_like(value) for name, value in theta(learner).items()}

    def value() -> torch.Tensor:
        return meta_losses(loss, strategy, STRENGTH, draw(1), draw(2)).val

    value().backward()
    analytic = sum((p.grad * direction[name]).sum() for name, p in theta(learner).items())
    step, ends = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for name, parameter in theta(learner).items():
                parameter += sign * step * direction[name]
        ends.append(value().detach())
    torch.testing.assert_close(analytic, (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-7)


def test_views_are_drawn_without_repetition_and_for_the_right_images(head: FlowHead, view: FeatureView):
    sampler, images = ViewSampler(head, view, 0, CPU), torch.tensor([4, 0])
    batch = sampler.draw(images)
    assert batch.views.shape == (2, 3, 6)
    for drawn, own in zip(batch.views, view.batch([4, 0], CPU), strict=True):
        matches = (drawn[:, None] == own[None]).all(dim=2)
        assert (matches.sum(1) == 1).all()
        assert (matches.sum(0) <= 1).all()
    assert (
        ViewSampler(head.model_copy(update={"views_per_image": 9}), view, 0, CPU).draw(images).views.shape[1]
        == 4
    )


def test_all_scores_are_the_mean_over_all_views(head: FlowHead, view: FeatureView):
    flow = new_flow(head, view, 0, CPU)
    scores = FlowLearner(flow, head, view, ViewSampler(head, view, 0, CPU)).all_scores()
    z, _ = flow(view.batch(range(9), CPU))
    torch.testing.assert_close(scores, z.square().mean((1, 2)))
    torch.testing.assert_close(
        FlowDetector(flow, likelihood=False).score(view.batch(range(9), CPU)).image, scores
    )


def test_the_score_may_be_the_likelihood(head: FlowHead, view: FeatureView):
    fit = fit_differnet(head.model_copy(update={"score": "likelihood", "epochs": 1}), view, 0, CPU)
    batch = view.batch(range(9), CPU)
    assert isinstance(fit.detector, FlowDetector)
    z, log_det = fit.detector.flow(batch)
    expected = (z.square().sum(2) / 2 - log_det) / 6
    torch.testing.assert_close(fit.detector.score(batch).patch, expected.detach())
    restored = FlowDetector.from_state(fit.detector.state())
    assert torch.equal(restored.score(batch).patch, fit.detector.score(batch).patch)


def test_every_task_needs_an_image(params: Params, view: FeatureView):
    settings = params.settings("comet-nf").model_copy(
        update={"comet": params.methods.comet_nf.model_copy(update={"tasks": 10})}
    )
    with pytest.raises(UserError, match="at least 10 images are needed, one a task, got 9"):
        fit_comet_nf(settings, view, 0, CPU)


@pytest.mark.usefixtures("store")
def test_a_saved_fit_gives_the_scores_that_the_stage_wrote(toy_params: Params, tmp_path: Path):
    """With views in the place of patches: no grid, and permutations that the file restores."""
    features = toy_features(20, 5, patches=4)
    view = features.select(features.info.ids)
    (tmp_path / "views").mkdir()
    np.save(tmp_path / "views" / ROWS, view.rows)
    info = {"ids": view.ids, "grid": None, "image_size": 32, "weights_sha256": "0" * 64, "key": "toy"}
    write_json(tmp_path / "views" / INFO, info)
    training_set = TrainingSet(0.0, 0, view.ids[:12])
    write_splits(tmp_path / "splits.json", Splits(view.ids[12:], False, (training_set,)))
    where = (tmp_path / name for name in ("views", "splits.json", "fits", "time.json"))
    train(toy_params, "ring", "comet-nf", *where)
    scores = load_scores(tmp_path / "fits" / training_set.name)
    assert scores.grid is None
    assert scores.patch.shape == (13, 4)
    assert scores.suspects is not None
    restored = load_detector(tmp_path / "fits" / training_set.name).score(view.batch(range(12, 25), CPU))
    np.testing.assert_allclose(restored.image.numpy(), scores.image, rtol=1e-5)
