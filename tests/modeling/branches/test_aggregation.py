"""Branches that aggregate the positions of a map, each beside the definition in plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from fastseek.errors import UsageError
from fastseek.modeling.branches.r_mac import regions
from fastseek.modeling.layers.transport import transport_with_dustbin
from fastseek.registry import BRANCHES, build

CHANNELS = {"s3": 8, "s4": 16}
SMALL = {
    "r_mac": "r_mac(levels=3)",
    "spoc": "spoc()",
    "crow": "crow()",
    "net_vlad": "net_vlad(clusters=4, dim=8)",
    "salad": "salad(clusters=4, cluster_dim=3, token_dim=5)",
    "boq": "boq(hidden=8, queries=3, blocks=2, rows=2)",
    "self_similarity": "self_similarity(hidden=6, window=5, dim=6)",
    "token": "token(tokens=2, hidden=8, dim=7, heads=4)",
    "spca": "spca(tokens=5, hidden=6, dim=9, heads=4)",
    "delg": "delg(dim=6, local_dim=4, hidden=8)",
    "cfcd": "cfcd(dim=5)",
}
# What these have no way of telling is where a position lies.
ORDERLESS = ["crow", "net_vlad", "salad", "token", "cfcd"]
WRONG = [
    "r_mac(levels=0)",
    "crow(a=0)",
    "net_vlad(clusters=0)",
    "salad(token_dim=0)",
    "boq(rows=0)",
    "self_similarity(window=4)",
    "token(hidden=9)",
    "spca(reaches=0)",
    "delg(dim=0)",
    "cfcd(dim=0)",
]


def make(name, call=None, **changes):
    torch.manual_seed(0)
    branch = build(call or SMALL[name], BRANCHES, channels=CHANNELS, **changes)
    for parameter in branch.parameters():  # some start at zero
        parameter.data += 0.05 * torch.randn_like(parameter)
    return branch


def make_maps(batch=4, size=(5, 4), seed=1):
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    return {
        "s3": torch.randn(batch, 8, 2 * height, 2 * width, generator=generator),
        "s4": torch.randn(batch, 16, height, width, generator=generator),
    }


@pytest.mark.parametrize("name", SMALL)
def test_a_branch_gives_what_it_says_and_every_parameter_learns(name):
    branch = make(name)
    maps = {key: value.requires_grad_() for key, value in make_maps().items()}
    found = branch(maps)
    assert {key: value.shape for key, value in found.items()} == {
        key: (4, dim) for key, dim in branch.dims.items()
    }
    sum(
        (value * torch.randn(value.shape, generator=torch.Generator().manual_seed(2))).sum()
        for value in found.values()
    ).backward()
    still = [
        key
        for key, one in branch.named_parameters()
        if one.grad is None or not one.grad.abs().max() > 0
    ]
    assert still == []


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(5, 4), (3, 7)])
def test_an_image_alone_has_the_embedding_it_has_in_a_batch(name, size):
    branch, maps = make(name).eval(), make_maps(3, size)
    kept = {key: value.clone() for key, value in maps.items()}
    together = branch(maps)
    alone = branch({key: value[:1] for key, value in maps.items()})
    for key, value in alone.items():
        torch.testing.assert_close(value, together[key][:1], atol=1e-5, rtol=1e-4)
    assert all(torch.equal(maps[key], kept[key]) for key in maps)


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_autocast_stays_near_float32(name):
    branch, maps = make(name).eval(), make_maps()
    halves = {key: value.bfloat16() for key, value in maps.items()}  # as a backbone gives them
    whole = branch({key: value.float() for key, value in halves.items()})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = branch(halves)
    for key, value in mixed.items():
        assert F.cosine_similarity(value.float(), whole[key]).min() > 0.98


@pytest.mark.parametrize("name", ORDERLESS)
def test_the_order_of_the_positions_does_not_matter(name):
    branch, maps = make(name).eval(), make_maps()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    mixed = maps["s4"].flatten(2)[:, :, order].view(4, 16, 5, 4)
    torch.testing.assert_close(
        branch({**maps, "s4": mixed})[name], branch(maps)[name], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("call", WRONG)
def test_an_illegal_number_is_refused(call):
    with pytest.raises(UsageError):
        build(call, BRANCHES, channels=CHANNELS)


@pytest.mark.parametrize("name", SMALL)
def test_a_map_the_backbone_lacks_is_named(name):
    key = "local" if name == "delg" else "on"
    call = SMALL[name].replace("(", f"({key}='s9', ", 1).replace(", )", ")")
    with pytest.raises(UsageError, match="'s9'.*only s3, s4"):
        build(call, BRANCHES, channels=CHANNELS)


@pytest.mark.parametrize(
    ("size", "levels", "wanted"),
    [
        ((4, 4), 1, [(0, 0, 4)]),
        ((4, 4), 2, [(0, 0, 4), (0, 0, 2), (0, 2, 2), (2, 0, 2), (2, 2, 2)]),
        ((4, 6), 1, [(0, 0, 4), (0, 2, 4)]),  # 2 of 4 columns in common, as near to 40 % as it gets
        ((6, 4), 1, [(0, 0, 4), (2, 0, 4)]),
    ],
)
def test_regions_of_r_mac_lie_evenly(size, levels, wanted):
    assert list(regions(*size, levels)) == wanted


def test_r_mac_is_the_sum_of_the_unit_maxima_of_its_regions():
    whole = make_maps()["s4"]
    for number, image in enumerate(whole):
        total = torch.zeros(16)
        for top, left, side in regions(5, 4, 3):
            maxima = torch.tensor(
                [channel[top : top + side, left : left + side].max() for channel in image]
            )
            total += maxima / maxima.norm()
        found = make("r_mac")({"s4": whole})["r_mac"][number]
        torch.testing.assert_close(found, total / total.norm())


def test_spoc_is_the_sum_weighted_from_the_middle():
    image = make_maps(1)["s4"]
    total = torch.zeros(16)
    for row in range(5):
        for column in range(4):
            squared = (row - 2) ** 2 + (column - 1.5) ** 2
            total += math.exp(-squared / (2 * (2 / 3) ** 2)) * image[0, :, row, column]
    found = make("spoc")({"s4": image})["spoc"][0]
    torch.testing.assert_close(found, total / total.norm())
    plain = make("spoc", "spoc(prior=False)")({"s4": image})["spoc"]
    torch.testing.assert_close(plain, F.normalize(image.sum(dim=(2, 3))))


def test_crow_weighs_places_by_their_sum_and_channels_by_their_rarity():
    image = make_maps(1)["s4"].clamp(min=0)[0].double()
    image[3] = 0  # a channel that is nowhere
    sums = [[image[:, row, column].sum() for column in range(4)] for row in range(5)]
    norm = math.sqrt(sum(one**2 for row in sums for one in row))
    shares = [(channel > 0).double().mean() for channel in image]
    total = torch.zeros(16, dtype=torch.double)
    for channel in range(16):
        rarity = math.log((16e-6 + sum(shares)) / (1e-6 + shares[channel]))
        for row in range(5):
            for column in range(4):
                weight = math.sqrt(sums[row][column] / norm)
                total[channel] += rarity * weight * image[channel, row, column]
    found = make("crow")({"s4": image[None]})["crow"][0]
    torch.testing.assert_close(found, total / total.norm(), atol=1e-5, rtol=1e-5)


def test_net_vlad_sums_the_residuals_by_their_shares():
    branch, image = make("net_vlad", "net_vlad(clusters=4, alpha=3)"), make_maps(1)["s4"]
    sums = torch.zeros(4, 16)
    for position in image[0].flatten(1).T:
        unit = position / position.norm()
        shares = torch.softmax(branch.assign.weight @ unit + branch.assign.bias, dim=0)
        for cluster in range(4):
            sums[cluster] += shares[cluster] * (unit - branch.centers[cluster])
    vector = torch.cat([one / one.norm() for one in sums])
    found = branch({"s4": image})["net_vlad"][0]
    torch.testing.assert_close(found, vector / vector.norm(), atol=1e-5, rtol=1e-4)


def test_net_vlad_first_assigns_a_position_to_the_nearest_center():
    torch.manual_seed(0)
    branch = build("net_vlad(clusters=6, alpha=50)", BRANCHES, channels=CHANNELS)
    units = F.normalize(torch.randn(30, 16, generator=torch.Generator().manual_seed(4)))
    nearest = torch.cdist(units, branch.centers).argmin(dim=1)
    assert torch.equal(branch.assign(units).argmax(dim=1), nearest)


def test_transport_gives_every_cluster_equal_mass_and_every_position_all_of_its_own():
    scores = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(5)).double()
    shares = transport_with_dustbin(scores, torch.tensor(0.3).double(), 200)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 9).double())
    wanted = torch.tensor([1.0, 1.0, 1.0, 6.0]).double().expand(2, 4)
    torch.testing.assert_close(shares.sum(dim=2), wanted, atol=1e-8, rtol=1e-8)


def test_transport_scales_rows_and_columns_in_turn():
    scores = torch.randn(3, 7, generator=torch.Generator().manual_seed(6)).double()
    plan = torch.cat([scores, torch.full((1, 7), 0.2).double()]).exp()
    wanted = torch.tensor([1.0, 1.0, 1.0, 4.0]).double()
    for _ in range(3):
        plan = plan * (wanted / plan.sum(dim=1))[:, None]
        plan = plan / plan.sum(dim=0)
    found = transport_with_dustbin(scores[None], torch.tensor(0.2).double(), 3)
    torch.testing.assert_close(found[0], plan)


def test_salad_sums_the_positions_by_their_shares():
    branch, image = make("salad").eval(), make_maps(1)["s4"]
    features = branch.features(image)[0].flatten(1)
    scores = branch.score(image).flatten(2)
    shares = transport_with_dustbin(scores, branch.dustbin, 3)[0]
    sums = torch.zeros(3, 4)
    for cluster in range(4):
        for position in range(20):
            sums[:, cluster] += shares[cluster, position] * features[:, position]
    token = branch.token(image.mean(dim=(2, 3)))[0]
    vector = torch.cat([token / token.norm(), (sums / sums.norm(dim=0)).flatten()])
    torch.testing.assert_close(branch({"s4": image})["salad"][0], vector / vector.norm())


def test_salad_takes_a_vector_for_its_token():
    channels = {**CHANNELS, "cls": 6}
    branch = build(
        "salad(token='cls', clusters=4, cluster_dim=3, token_dim=5)", BRANCHES, channels=channels
    )
    maps = {**make_maps(), "cls": torch.randn(4, 6, generator=torch.Generator().manual_seed(7))}
    assert branch(maps)["salad"].shape == (4, 17)


def test_salad_says_when_a_map_is_too_small():
    with pytest.raises(ValueError, match="4 positions for 4 clusters"):
        make("salad")(make_maps(1, (2, 2)))


def test_a_self_similarity_descriptor_sees_only_the_window():
    branch, image = make("self_similarity").eval(), make_maps(1, (7, 7))["s4"]
    described = branch.describe(image)
    units = F.normalize(branch.reduce(image), dim=1)[0]
    window = torch.zeros(6, 5, 5)  # about the position 1, 2
    for row in range(5):
        for column in range(5):
            if row >= 1:
                alike = units[:, row - 1, column] * units[:, 1, 2]
                window[:, row, column] = alike.clamp(min=0)
    wanted = branch.encode(window[None, :, None]).mean(dim=(3, 4)).flatten()
    torch.testing.assert_close(described[0, :, 1, 2], wanted)


def test_the_context_of_spca_is_a_random_walk_over_the_shares():
    branch, image = make("spca").eval(), make_maps(1, (2, 3))["s4"]
    places = [(row, column) for row in range(2) for column in range(3)]
    step = torch.tensor([[math.exp(-math.dist(one, other)) for other in places] for one in places])
    step = step / step.sum(dim=1, keepdim=True)
    positions = branch.reduce(image)[0].flatten(1).T
    logits = torch.zeros(6, 5)
    for number, position in enumerate(positions):
        for token in range(5):
            variance = branch.log_variance[token].exp()
            share = branch.log_share.softmax(0)[token]
            squared = (position - branch.tokens[token]).square().sum()
            logits[number, token] = torch.log(share / variance.sqrt()) - squared / (2 * variance)
    shares = logits.softmax(dim=1) + 1e-8
    shares = shares / shares.sum(dim=0)
    wanted = torch.cat([step @ step @ shares, step @ step @ step @ shares], dim=1)
    torch.testing.assert_close(branch.describe(image)[0], wanted, atol=1e-5, rtol=1e-4)


def test_the_local_part_of_delg_leaves_the_backbone_alone():
    maps = {key: value.requires_grad_() for key, value in make_maps().items()}
    found = make("delg")(maps)
    (found["delg/local"].sum() + found["delg/reconstruction"].sum()).backward()
    assert maps["s3"].grad is None and maps["s4"].grad is None


def test_the_penalty_of_delg_is_the_mean_squared_error_of_its_autoencoder():
    branch, maps = make("delg").eval(), make_maps()
    rebuilt = F.relu(branch.decode(branch.encode(maps["s3"])))
    found = branch(maps)["delg/reconstruction"].mean()
    torch.testing.assert_close(found, F.mse_loss(rebuilt, maps["s3"]))


def test_local_descriptors_of_delg_have_length_1_and_a_score():
    vectors, scores = make("delg").eval().describe_locals(make_maps())
    assert vectors.shape == (4, 4, 10, 8) and scores.shape == (4, 10, 8)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4, 10, 8))
    assert scores.min() > 0
