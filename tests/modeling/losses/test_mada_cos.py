import math

import pytest
import torch
import torch.nn.functional as F

from fastseek.errors import UsageError
from fastseek.registry import LOSSES, build

COUNTS = torch.ones(6, dtype=torch.long)
TARGETS = torch.tensor([0, 1, 2, 3, 3])


def make(call="mada_cos(on='e')", dim=8):
    torch.manual_seed(0)
    return build(call, LOSSES, dims={"e": dim}, counts=COUNTS).double()


def near_centers(loss, noise):
    """Embeddings close to the centers of their classes."""
    centers = F.normalize(loss.weight.detach())[TARGETS]
    generator = torch.Generator().manual_seed(1)
    return centers + noise * torch.randn(centers.shape, generator=generator).double()


@pytest.mark.parametrize("noise", [0.05, 0.2, 1.0])
def test_scale_and_margin_follow_the_median(noise):
    loss = make()
    embedding = near_centers(loss, noise)
    cosine = F.normalize(embedding) @ F.normalize(loss.weight.detach()).T
    own = [cosine[row, target].item() for row, target in enumerate(TARGETS)]
    middle = sorted(own)[2]
    scale = max(32.0, math.log((1e7 - 1) * 0.9 / 0.1) / (1 - middle))
    row = own.index(middle)
    others = torch.stack([one for j, one in enumerate(cosine[row]) if j != TARGETS[row]])
    log_rivals = (scale * others).logsumexp(0).item()
    margin = max(0.0, middle - (log_rivals + math.log(0.1 / 0.9)) / scale)
    logits = scale * cosine
    logits[range(5), TARGETS] -= scale * margin
    assert loss(embedding, TARGETS).item() == pytest.approx(
        F.cross_entropy(logits, TARGETS).item(), rel=1e-6
    )
    if margin > 0:
        assert logits[row].softmax(0)[TARGETS[row]].item() == pytest.approx(0.1, rel=1e-6)


def test_an_evaluation_has_no_margin_and_leaves_the_scale():
    loss = make()
    loss(near_centers(loss, 0.05), TARGETS)
    kept = loss.scale.clone()
    assert kept > 32
    loss.eval()
    embedding = near_centers(loss, 1.0)
    value = loss(embedding, TARGETS)
    assert torch.equal(loss.scale, kept)
    torch.testing.assert_close(value, F.cross_entropy(loss.logits(embedding), TARGETS))


def test_a_pass_for_exact_statistics_leaves_the_scale():
    loss = make()
    loss(near_centers(loss, 0.05), TARGETS)
    kept = loss.scale.clone()
    with torch.no_grad():  # fast-reid's, whose targets are none
        loss(near_centers(loss, 1.0), torch.zeros_like(TARGETS))
    assert torch.equal(loss.scale, kept)


def test_the_scale_is_in_the_checkpoint():
    loss = make()
    loss(near_centers(loss, 0.05), TARGETS)
    again = make()
    again.load_state_dict(loss.state_dict())
    assert again.scale == loss.scale


def test_an_illegal_alpha_is_refused():
    with pytest.raises(UsageError, match="alpha must be in"):
        make("mada_cos(on='e', alpha=1)")


def test_a_penalty_is_the_weighted_mean_of_what_a_branch_gives():
    loss = build("penalty(on='e', weight=10)", LOSSES, dims={"e": 1}, counts=COUNTS)
    assert loss(torch.tensor([[1.0], [2.0]]), TARGETS[:2]).item() == pytest.approx(15)
