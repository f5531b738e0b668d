"""What must keep its precision under autocast, and what must not wait for the device.

On a CPU `mixed_precision` does nothing, so autocast to bfloat16 is switched on by hand; a tensor
on the meta device has no value, so that whatever waits for one raises.
"""

import torch
from torch import Tensor, nn

from adlib.learning.heads.memory import MemoryBank
from adlib.learning.heads.simplenet import SimpleNet, patch_losses
from adlib.learning.methods.afclip.detector import TokenDetector
from adlib.learning.methods.afclip.tokens import PatchHead
from adlib.learning.methods.patchcore import greedy_coreset


def half() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_neighbours_are_exact_under_autocast():
    bank, queries = MemoryBank("euclidean"), normal(200, 32, seed=1)
    bank.add(normal(500, 32))
    distances, positions = bank.search(queries, 3)
    with half():
        under, found = bank.search(queries, 3)
    assert torch.equal(found, positions)
    assert torch.equal(under, distances)


def test_the_hinge_is_not_rounded_under_autocast():
    head = SimpleNet(16, 32, torch.Generator().manual_seed(0)).train()
    patches, noise = normal(4, 9, 16), normal(4, 9, 16, seed=1)
    with half():
        normality = head(patches, noise)
        losses = patch_losses(normality, 5.0)
    assert normality.dtype == losses.dtype == torch.float32
    # Not merely stored in float32: bfloat16 has few values between -2 and 2.
    assert normality.detach().unique().numel() == normality.numel()
    assert losses.detach().bfloat16().float().ne(losses.detach()).any()


def test_states_are_compared_in_full_precision_under_autocast():
    head = PatchHead(nn.Identity(), 16, torch.Generator().manual_seed(0))
    detector = TokenDetector(head, (1,), 4.0, 0.07, 0.1)
    rows = normal(2, 9, 16)
    expected = detector.score(rows)
    with half():
        found = detector.score(rows)
    assert torch.equal(found.image, expected.image)
    assert torch.equal(found.patch, expected.patch)


def test_the_coreset_never_waits_for_a_value():
    points = torch.empty(50, 4, device="meta")
    assert greedy_coreset(points, 10).shape == (10,)
