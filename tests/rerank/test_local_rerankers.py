"""Chamfer similarity, mutual matches and transport against loops, and whose features they take."""

import itertools

import numpy as np
import pytest

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.registry import RERANKERS, build
from fastseek.rerank.mutual_matches import fit_maps
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings
from fastseek.structures.local_embeddings import LocalEmbeddings, Tokens

DIM, COUNT, IMAGES = 6, 5, 7


def made_tokens(seed, images=IMAGES, count=COUNT):
    """Random tokens; of image 1 the last two are empty."""
    random = np.random.default_rng(seed)
    weights = np.ones((images, count))
    weights[min(1, images - 1), 3:] = 0
    vectors = random.normal(size=(images, count, DIM)) * (weights > 0)[:, :, None]
    return Tokens(vectors, random.random((images, count, 2)), weights)


def read_all(tokens, bits="fp16"):
    made = LocalEmbeddings.of_tokens([str(n) for n in range(len(tokens.weights))], tokens, bits)
    return made.read(np.arange(len(made)))


@pytest.fixture(scope="module", params=["fp16", "binary"])
def pair(request):
    """A query's tokens, and those of seven images."""
    asked = read_all(made_tokens(1, 2, 4), request.param)
    return asked.pick(1), read_all(made_tokens(2), request.param)


@pytest.mark.parametrize("ways", ["both", "query", "image"])
def test_chamfer_is_the_mean_of_the_largest_cosines(pair, ways):
    query, images = pair
    found = build(f"chamfer('S', ways={ways!r})", RERANKERS).compare(query, images)
    for row in range(IMAGES):
        image = images.pick(row)
        there = [max(float(q @ g) for g in image.vectors) for q in query.vectors]
        back = [max(float(q @ g) for q in query.vectors) for g in image.vectors]
        wanted = {"query": np.mean(there), "image": np.mean(back)}
        wanted["both"] = (wanted["query"] + wanted["image"]) / 2
        assert found[row] == pytest.approx(wanted[ways], abs=1e-6)


def test_transport_is_sinkhorns_plan_in_plain_numbers(pair):
    query, images = pair
    found = build("transport('S', epsilon=0.2, rounds=9)", RERANKERS).compare(query, images)
    for row in range(IMAGES):
        near = (query.vectors @ images.pick(row).vectors.T).astype(np.float64)
        a, b = (np.full(size, 1 / size) for size in near.shape)
        kernel, v = np.exp(near / 0.2), np.ones(near.shape[1])
        for _ in range(9):
            u = a / (kernel @ v)
            v = b / (kernel.T @ u)
        assert found[row] == pytest.approx((u[:, None] * kernel * v * near).sum(), abs=1e-6)


@pytest.mark.parametrize(("check", "size"), [("none", 0), ("similarity", 2), ("affine", 3)])
def test_mutual_matches_are_the_best_that_one_transform_explains(pair, check, size):
    query, images = pair
    call = f"mutual_matches('S', check={check!r}, tolerance=0.3, least=-1.0)"
    found = build(call, RERANKERS).compare(query, images)
    for row in range(IMAGES):
        image = images.pick(row)
        near = query.vectors @ image.vectors.T
        matches = [
            (i, j)
            for i in range(len(near))
            for j in range(near.shape[1])
            if near[i].argmax() == j and near[:, j].argmax() == i
        ]
        sums = [sum(near[i, j] for i, j in matches)] if not size else [0.0]
        sums += [near[i, j] for i, j in matches] if size else []
        for some in itertools.combinations(matches, size) if size else ():
            sums.append(sum_of_inliers(query, image, near, matches, some))
        assert found[row] == pytest.approx(max(sums) / len(image.vectors), abs=1e-5)


def sum_of_inliers(query, image, near, matches, some):
    """Cosines of the matches that the transform of some of them explains, by least squares."""
    start, end = query.places[[i for i, _ in some]], image.places[[j for _, j in some]]
    if len(some) == 2:
        rows = [[x, -y, 1, 0] for x, y in start] + [[y, x, 0, 1] for x, y in start]
        a, b, c, d = np.linalg.lstsq(np.array(rows), end.T.ravel(), rcond=None)[0]
        matrix = np.array([[a, -b, c], [b, a, d]])
    else:
        matrix = np.linalg.lstsq(np.c_[start, np.ones(3)], end, rcond=None)[0].T
    if not 1 / 64 < np.linalg.det(matrix[:, :2]) < 64:
        return 0.0
    apart = {(i, j): matrix @ [*query.places[i], 1] - image.places[j] for i, j in matches}
    return sum(near[pair] for pair, gap in apart.items() if np.hypot(*gap) <= 0.3)


def test_a_turned_shrunk_and_shifted_object_has_all_its_matches_agree():
    random = np.random.default_rng(3)
    vectors, start = random.normal(size=(1, 8, 16)), random.random((1, 8, 2))
    turn = 0.4 * np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    end = start @ turn.T + [0.3, 0.1]
    ones = np.ones((1, 8))
    query = read_all(Tokens(vectors, start, ones)).pick(0)
    part = build("mutual_matches('S', tolerance=0.01)", RERANKERS)
    right = part.compare(query, read_all(Tokens(vectors, end, ones)))
    wrong = part.compare(query, read_all(Tokens(vectors, end[:, ::-1], ones)))
    assert right[0] == pytest.approx(1, abs=1e-3) and wrong[0] < 0.6
    maps, fine = fit_maps(start[:, :3], end[:, :3], 3)
    np.testing.assert_allclose(maps[0, :, :2], turn, atol=1e-9)
    assert fine[0]


@pytest.mark.parametrize("name", ["chamfer", "mutual_matches", "transport"])
def test_the_order_of_the_tokens_and_empty_ones_change_nothing(name):
    part = build(f"{name}('S')", RERANKERS)
    query, tokens = read_all(made_tokens(1, 2)).pick(0), made_tokens(2)
    turned = Tokens(*(one[:, ::-1] for one in tokens))
    wide = Tokens(*(np.concatenate([one, 0 * one], axis=1) for one in tokens))
    wanted = part.compare(query, read_all(tokens))
    for other in (turned, wide):
        np.testing.assert_allclose(part.compare(query, read_all(other)), wanted, atol=1e-6)


@pytest.fixture
def sides(tmp_path):
    """Queries, gallery and the folders of their local features."""
    made = []
    for name, seed in (("q", 1), ("g", 2)):
        ids, told = [f"{name}{n}" for n in range(IMAGES)], {"model": "m", "root": f"/{name}"}
        LocalEmbeddings.of_tokens(ids, made_tokens(seed), "fp16", told).save(tmp_path / name)
        vectors = np.random.default_rng(seed).normal(size=(IMAGES, 4)).astype(np.float32)
        made.append(Embeddings(ids, vectors, told))
    return *made, f"'{tmp_path / 'g'}', '{tmp_path / 'q'}'"


def test_images_beyond_the_depth_stay_behind_in_their_order(sides):
    queries, gallery, folders = sides
    ranking = Exact(k=IMAGES)(queries, gallery)
    after = build(f"chamfer({folders}, depth=3)", RERANKERS)(ranking, queries, gallery)
    np.testing.assert_array_equal(after.indices[:, 3:], ranking.indices[:, 3:])
    assert (np.diff(after.scores, axis=1) <= 0).all()
    best = build(f"chamfer({folders}, depth=1, beta=2)", RERANKERS)(ranking, queries, gallery)
    np.testing.assert_array_equal(best.indices, ranking.indices)


def test_features_of_another_model_another_root_or_other_images_are_refused(sides, tmp_path):
    queries, gallery, folders = sides
    ranking = Exact(k=3)(queries, gallery)
    ids, tokens = [f"g{n}" for n in range(IMAGES)], made_tokens(2)
    cases = [
        ({"model": "other"}, ids, "fp16", "another model than the gallery"),
        ({"model": "m", "root": "/elsewhere"}, ids, "fp16", "another root"),
        ({"model": "m"}, [f"x{one}" for one in ids], "fp16", "no local features, the first is 'g"),
        ({"model": "m"}, ids, "binary", "of 6 numbers as fp16"),
    ]
    for number, (told, names, bits, message) in enumerate(cases):
        folder = tmp_path / str(number)
        LocalEmbeddings.of_tokens(names, tokens, bits, told).save(folder)
        part = build(f"chamfer('{folder}', {folders.split(', ')[1]})", RERANKERS)
        with pytest.raises(ArtefactError, match=message):
            part(ranking, queries, gallery)
    with pytest.raises(DataError, match="fastseek embed --locals 16"):
        build(f"chamfer('{tmp_path / 'gone'}')", RERANKERS)(ranking, queries, gallery)


@pytest.mark.parametrize(
    "call",
    [
        "chamfer('S', ways='all')",
        "chamfer('S', depth=0)",
        "transport('S', epsilon=0)",
        "mutual_matches('S', check='homography')",
    ],
)
def test_a_value_that_cannot_be_is_told_when_the_part_is_built(call):
    with pytest.raises(UsageError):
        build(call, RERANKERS)
