"""The kNN graph: what brute force finds, whatever the parts, and the groups it falls into."""

import contextlib

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.knn.graph import KnnGraph, UnionFind, build, build_knn_graph, connect_images, join
from fastseek.structures import Embeddings
from fastseek.structures.job_part import JobPart


def clustered(count=300, dim=12, groups=15, seed=0):
    random = np.random.default_rng(seed)
    centers = random.standard_normal((groups, dim))
    vectors = centers[random.integers(0, groups, count)] + 0.5 * random.standard_normal(
        (count, dim)
    )
    # Ids in another order than the rows, and some equal images, so that ties are there.
    vectors[40:46] = vectors[40]
    ids = random.permutation(count).astype(str)
    return Embeddings(ids, vectors.astype(np.float32))


def brute_force(embeddings, k, metric):
    """Neighbors by the definition: all other images, by falling score, then by id."""
    vectors = np.asarray(embeddings.vectors, np.float64)
    if metric == "cosine":
        single = np.asarray(embeddings.vectors)
        single = single / np.sqrt(np.vecdot(single, single))[:, None]
        scores = np.clip((single.astype(np.float64) @ single.T.astype(np.float64)), -1, 1)
    else:
        scores = -((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    scores = scores.astype(np.float32)
    found = []
    for row in range(len(vectors)):
        others = [one for one in range(len(vectors)) if one != row]
        found.append(sorted(others, key=lambda one: (-scores[row, one], embeddings.ids[one]))[:k])
    found = np.array(found)
    return found, np.take_along_axis(scores, found, axis=1)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("cells", [0, 9])
def test_the_graph_is_what_brute_force_finds_when_every_cell_is_searched(metric, cells):
    embeddings = clustered()
    graph = build_knn_graph(embeddings, 7, metric=metric, cells=cells, probes=9)
    neighbors, scores = brute_force(embeddings, 7, metric)
    np.testing.assert_array_equal(graph.neighbors, neighbors)
    np.testing.assert_allclose(graph.scores, scores, rtol=1e-6, atol=1e-6)
    assert graph.facts["exact"] is (cells == 0)
    assert graph.facts["recall"]["value"] == 1.0


def test_the_recall_is_the_share_of_true_neighbors_that_was_found():
    embeddings = clustered(count=200)
    graph = build_knn_graph(embeddings, 6, cells=20, probes=2)
    right = brute_force(embeddings, 6, "cosine")[0]
    pairs = zip(graph.neighbors, right, strict=True)
    share = sum(len(set(mine) & set(theirs)) for mine, theirs in pairs) / right.size
    assert 0.3 < share < 1
    assert graph.facts["recall"]["value"] == pytest.approx(share, abs=0.005)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(build, "SHARD_ROWS", 50)
    monkeypatch.setattr(join, "PIECE", 32)


@pytest.mark.parametrize("cells", [0, 12])
def test_any_number_of_parts_in_any_order_killed_or_not_give_the_same_bytes(
    tmp_path, small_shards, monkeypatch, cells
):
    embeddings = clustered()

    def make(folder, part):
        return build_knn_graph(embeddings, 5, folder, cells=cells, probes=3, part=part)

    assert make(tmp_path / "one", JobPart(0, 1)) is not None
    assert make(tmp_path / "three", JobPart(2, 3)) is None
    # The second process dies when it has made one of its shards.
    whole, made = build._save_shard, []

    def die(*given):
        if made:
            raise KeyboardInterrupt
        made.append(whole(*given))

    monkeypatch.setattr(build, "_save_shard", die)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "three", JobPart(0, 3))
    monkeypatch.setattr(build, "_save_shard", whole)
    with pytest.raises(DataError, match="no finished"):
        KnnGraph.load(tmp_path / "three")
    assert make(tmp_path / "three", JobPart(1, 3)) is None
    assert make(tmp_path / "three", JobPart(0, 3)) is not None
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert names == ["graph.json", "neighbors.npy", "plan.json", "scores.npy"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()
    KnnGraph.load(tmp_path / "three", verify=True).check_fits(embeddings)


def test_another_order_of_the_images_gives_the_same_graph_in_that_order(small_shards):
    embeddings = clustered()
    order = np.random.default_rng(1).permutation(len(embeddings))
    moved = Embeddings(embeddings.ids[order], np.asarray(embeddings.vectors)[order])
    first = build_knn_graph(embeddings, 5, cells=12, probes=2)
    second = build_knn_graph(moved, 5, cells=12, probes=2)
    np.testing.assert_array_equal(second.scores, first.scores[order])
    names = embeddings.ids[first.neighbors][order]
    np.testing.assert_array_equal(moved.ids[second.neighbors], names)


def test_threads_change_nothing(small_shards, monkeypatch):
    embeddings = clustered()
    first = build_knn_graph(embeddings, 5, cells=12, probes=2)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    second = build_knn_graph(embeddings, 5, cells=12, probes=2)
    np.testing.assert_array_equal(first.neighbors, second.neighbors)
    np.testing.assert_array_equal(first.scores, second.scores)


@pytest.mark.parametrize("cells", [0, 3])
def test_an_image_is_not_its_own_neighbor_among_many_equal_ones(cells):
    same = Embeddings(np.arange(60).astype(str), np.ones((60, 4), np.float32))
    graph = build_knn_graph(same, 5, cells=cells)
    assert (graph.neighbors != np.arange(60)[:, None]).all()
    assert (graph.neighbors >= 0).all()
    np.testing.assert_allclose(graph.scores, 1)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_images_than_neighbors_have_all_the_others(count):
    some = Embeddings(
        np.arange(count).astype(str), np.eye(4, dtype=np.float32)[:count].reshape(count, 4)
    )
    graph = build_knn_graph(some, 5)
    assert graph.neighbors.shape == (count, max(0, count - 1))


def test_a_folder_of_something_else_is_refused(tmp_path):
    embeddings = clustered(count=60)
    build_knn_graph(embeddings, 4, tmp_path / "g")
    with pytest.raises(ArtefactError, match="other k: name another folder"):
        build_knn_graph(embeddings, 5, tmp_path / "g")
    with pytest.raises(ArtefactError, match="other images, embeddings"):
        build_knn_graph(clustered(count=61), 4, tmp_path / "g")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtefactError, match=r"holds thesis\.tex, and no kNN graph"):
        build_knn_graph(embeddings, 4, tmp_path / "mine")
    with pytest.raises(ArtefactError, match="of other embeddings"):
        KnnGraph.load(tmp_path / "g").check_fits(clustered(count=60, seed=2))
    for wrong in ({"metric": "ip"}, {"probes": 0}, {"cells": 61}):
        with pytest.raises(UsageError):
            build_knn_graph(embeddings, 4, tmp_path / "h", **wrong)


def test_a_vector_that_cannot_be_compared_is_named():
    vectors = np.ones((30, 3), np.float32)
    vectors[7] = 0
    for cells in (0, 3):
        with pytest.raises(DataError, match="'im-7'.* zero"):
            build_knn_graph(Embeddings([f"im-{n}" for n in range(30)], vectors), 4, cells=cells)


def test_a_changed_byte_is_found(tmp_path):
    build_knn_graph(clustered(count=60), 4, tmp_path)
    content = bytearray((tmp_path / "scores.npy").read_bytes())
    content[-1] ^= 1
    (tmp_path / "scores.npy").write_bytes(content)
    KnnGraph.load(tmp_path)
    with pytest.raises(ArtefactError, match=r"scores\.npy"):
        KnnGraph.load(tmp_path, verify=True)
    with pytest.raises(ArtefactError, match=r"scores\.npy"):
        build_knn_graph(clustered(count=60), 4, tmp_path)


def test_a_part_whose_graph_is_finished_by_others_gives_that_graph(
    tmp_path, small_shards, monkeypatch
):
    embeddings, turn, left = clustered(), build.take_turn, []

    def make(part):
        return build_knn_graph(embeddings, 5, tmp_path, cells=9, probes=3, part=part)

    @contextlib.contextmanager
    def be_late(folder):
        with turn(folder):
            yield
        monkeypatch.setattr(build, "take_turn", turn)
        left.append(make(JobPart(0, 1)))

    monkeypatch.setattr(build, "take_turn", be_late)
    graph = make(JobPart(1, 3))
    np.testing.assert_array_equal(graph.neighbors, left[0].neighbors)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["graph.json", "neighbors.npy", "plan.json", "scores.npy"]


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_the_connected_components_whatever_the_blocks(seed):
    random = np.random.default_rng(seed)
    first, second = random.integers(0, 200, (2, 150))
    graph = coo_array((np.ones(150), (first, second)), (200, 200))
    right = connected_components(graph, directed=False)[1]
    cuts = np.sort(random.integers(0, 150, 6))
    edges = zip(np.split(first, cuts), np.split(second, cuts), strict=True)
    groups = connect_images(200, edges)
    np.testing.assert_array_equal(groups, right)  # both number groups by their first image
    found = UnionFind(200)
    found.join(first, second)
    np.testing.assert_array_equal(found.groups(), right)


def test_edges_are_those_from_a_score_on():
    graph = build_knn_graph(clustered(count=90), 5)
    found = [block for block in graph.iterate_edges(0.8, rows=20)]
    images, neighbors, scores = (np.concatenate(part) for part in zip(*found, strict=True))
    row, column = np.nonzero(graph.scores >= 0.8)
    np.testing.assert_array_equal(images, row)
    np.testing.assert_array_equal(neighbors, graph.neighbors[row, column])
    np.testing.assert_array_equal(scores, graph.scores[row, column])
