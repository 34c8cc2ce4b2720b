import pytest
import torch
import torch.nn.functional as F

from fastseek.errors import UsageError
from fastseek.modeling.branches.bnneck import Bnneck
from fastseek.registry import BRANCHES, build


@pytest.mark.parametrize(("pool", "dim"), [("avg", 0), ("gem", 0), ("avg", 5), ("gem", 5)])
def test_both_embeddings_have_the_dimensions_told(pool, dim):
    branch = Bnneck(pool=pool, dim=dim, channels={"s4": 6})
    out = branch({"s4": torch.randn(3, 6, 4, 5)})
    assert {name: value.shape[1] for name, value in out.items()} == branch.dims
    assert set(out) == {"bnneck", "bnneck/before"} and branch.dims["bnneck"] == (dim or 6)


def test_after_is_the_batch_norm_of_before_without_bias():
    """Fine-grained facts 1.1 step 4."""
    branch = Bnneck(channels={"s4": 6})
    maps = torch.randn(8, 6, 4, 5)
    out = branch({"s4": maps})
    torch.testing.assert_close(out["bnneck/before"], maps.mean((2, 3)))
    torch.testing.assert_close(out["bnneck"], F.batch_norm(maps.mean((2, 3)), None, None, training=True))


def test_the_bias_of_the_batch_norm_stays_zero_and_its_weight_learns():
    branch = Bnneck(channels={"s4": 6})
    trained = [parameter for parameter in branch.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1.0)
    (branch({"s4": torch.randn(8, 6, 4, 5)})["bnneck"] * torch.randn(8, 6)).sum().backward()
    optimizer.step()
    assert (branch.norm.bias == 0).all() and (branch.norm.weight != 1).any()


def test_a_map_the_backbone_lacks_is_named():
    with pytest.raises(UsageError, match="'s3'.*only s4"):
        build("bnneck(on='s3')", BRANCHES, channels={"s4": 6})
