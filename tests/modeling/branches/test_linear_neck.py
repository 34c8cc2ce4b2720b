import pytest
import timm
import torch
import torch.nn.functional as F

from fastseek.errors import UsageError
from fastseek.modeling.backbones.timm import Timm
from fastseek.modeling.branches.linear_neck import LinearNeck
from fastseek.modeling.layers.gem import Gem
from fastseek.registry import BRANCHES, build

CHANNELS = {"s4": 6}


@pytest.mark.parametrize("pool", ["gem", "avg"])
@pytest.mark.parametrize("kind", ["fc", "fc_bn_prelu", "fc_swish"])
def test_the_embedding_is_pool_linear_layer_and_what_follows(pool, kind):
    """landmark row 25."""
    branch = LinearNeck(pool=pool, neck=kind, dim=5, channels=CHANNELS).eval()
    maps = torch.randn(3, 6, 4, 5)
    pooled = maps.mean((2, 3)) if pool == "avg" else Gem()(maps)
    linear = branch.neck if kind == "fc" else branch.neck[0]
    expected = F.linear(pooled, linear.weight, linear.bias)
    if kind == "fc_swish":
        expected = expected * torch.sigmoid(expected)
    if kind == "fc_bn_prelu":
        expected = expected / (1 + 1e-5) ** 0.5
        expected = torch.where(expected > 0, expected, 0.25 * expected)
    found = branch({"s4": maps})
    assert set(found) == set(branch.dims) == {"linear_neck"}
    torch.testing.assert_close(found["linear_neck"], expected)
    torch.testing.assert_close(branch({"s4": maps[:1]})["linear_neck"], expected[:1])


def test_a_vector_needs_no_pooling():
    """landmark row 22: the neck of the hybrids, 1024 to 512."""
    branch = LinearNeck(pool="none", channels={"s4": 1024}).eval()
    vector = torch.randn(2, 1024, 1, 1)
    torch.testing.assert_close(
        branch({"s4": vector})["linear_neck"], branch.neck(vector[:, :, 0, 0])
    )
    assert (
        sum(parameter.numel() for parameter in branch.parameters())
        == 1024 * 512 + 512 + 2 * 512 + 1
    )
    with pytest.raises(UsageError, match="2 x 1.*pool='gem' or 'avg'"):
        branch({"s4": torch.randn(2, 1024, 2, 1)})


@pytest.mark.parametrize("wrong", ["on='s1'", "pool='max'", "neck='bn'"])
def test_an_unknown_choice_is_refused(wrong):
    with pytest.raises(UsageError):
        build(f"linear_neck({wrong})", BRANCHES, channels=CHANNELS)


@pytest.mark.parametrize("name", ["test_efficientnet", "mobilenetv2_050"])
def test_the_head_map_pools_to_the_feature_of_timms_classifier(name):
    """landmark row 25: the conv_head feature of the 2020 contest's plain EfficientNets."""
    whole = timm.create_model(name).eval()
    net = Timm(name, (3, 4), head=True).eval()
    net.net.load_state_dict({key: whole.state_dict()[key] for key in net.net.state_dict()})
    images = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        maps = net(images)
        torch.testing.assert_close(maps["head"], whole.forward_features(images))
    assert net.channels["head"] == maps["head"].shape[1] == whole.num_features and set(maps) == {
        "s3",
        "s4",
        "head",
    }


def test_local_weights_reach_the_head(tmp_path):
    whole = timm.create_model("test_efficientnet")
    torch.save(whole.state_dict(), tmp_path / "net.pth")
    net = Timm("test_efficientnet", (4,), head=True, weights=str(tmp_path / "net.pth"))
    assert torch.equal(net.net.conv_head.weight, whole.conv_head.weight)


@pytest.mark.parametrize(
    ("name", "stages", "says"),
    [
        ("resnet18", (4,), "no convolution"),
        ("mobilenetv3_small_100", (4,), "no convolution"),
        ("test_efficientnet", (3,), "add 4"),
    ],
)
def test_a_net_without_that_map_is_refused(name, stages, says):
    with pytest.raises(ValueError, match=says):
        Timm(name, stages, head=True)
