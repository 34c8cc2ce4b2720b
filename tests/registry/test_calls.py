"""What a part says of itself: the call string that the frame writes into a provenance."""

import numpy as np
import pytest

from fastseek.enhance.aqe import Aqe
from fastseek.enhance.whiten import Whiten
from fastseek.errors import UsageError
from fastseek.fuse.vote import Vote
from fastseek.registry import (
    ENHANCERS,
    FUSERS,
    METRICS,
    RERANKERS,
    SEARCHERS,
    Registry,
    build,
    import_plugin,
    load_plugins,
)
from fastseek.rerank.k_reciprocal import KReciprocal
from fastseek.search.exact import Exact

# As written in files of the first version; (registry, call of a recipe, call in a provenance).
WRITTEN = [
    (ENHANCERS, "aqe(3)", "aqe(k=3, times=1, alpha=3.0)"),
    (ENHANCERS, "alpha_qe()", "alpha_qe(k=10, alpha=3.0)"),
    (ENHANCERS, "dba(alpha=2)", "dba(k=10, alpha=2)"),
    (ENHANCERS, "l2", "l2()"),
    (ENHANCERS, "center(fit='queries', save='x')", "center()"),
    (ENHANCERS, "pca(8, save='x')", "pca(dim=8, whiten=False)"),
    (ENHANCERS, "whiten(8)", "pca(dim=8, whiten=True)"),
    (ENHANCERS, "quantile(fit='x')", "quantile(n=1000)"),
    (ENHANCERS, "concat()", "concat()"),
    (SEARCHERS, "exact(9, block=7, scan='int8')", "exact(k=9, metric='cosine')"),
    (
        SEARCHERS,
        "quantized(rescore=2, sample=5, seed=1)",
        "quantized(k=100, storage='bfloat16', metric='cosine', rescore=2)",
    ),
    (
        SEARCHERS,
        "milvus(uri='a.db', token='secret', replace=True)",
        "milvus(k=100, collection='gallery', metric='cosine', index='FLAT', refine=1, dtype='float32')",
    ),
    (
        SEARCHERS,
        "sharded(search='exact(k=5)', folder='x')",
        "sharded('exact(k=5)', rows=1000000)",
    ),
    (
        SEARCHERS,
        "faiss_hnsw(sample=5, file='x')",
        "faiss_hnsw(k=100, m=32, ef=200, build=100, metric='cosine', seed=0)",
    ),
    (
        RERANKERS,
        "k_reciprocal(k1=4, max_ram=3)",
        "k_reciprocal(k1=4, k2=6, lambda_=0.3, metric='cosine', variant='paper')",
    ),
    (
        RERANKERS,
        "k_reciprocal_query()",
        "k_reciprocal_query(k1=20, k2=6, lambda_=0.3, metric='cosine', graph='')",
    ),
    (
        RERANKERS,
        "diffusion()",
        "diffusion(k=50, seeds=10, alpha=0.99, gamma=3.0, over='gallery', tolerance=1e-06)",
    ),
    (RERANKERS, "super_global()", "super_global(m=400, k=9, beta=0.15)"),
    (RERANKERS, "hard_rank('r', 'l')", "hard_rank(reference='r', labels='l', votes=3)"),
    (
        RERANKERS,
        "hard_insert('r', 'l')",
        "hard_insert(reference='r', labels='l', threshold=0.6, votes=3, conf='sum/3')",
    ),
    (
        RERANKERS,
        "label_rank('r', 'l', down=0)",
        "label_rank(reference='r', labels='l', up=1.0, down=0, votes=3, conf='sum/3')",
    ),
    (RERANKERS, "non_landmark('r')", "non_landmark(reference='r', gallery_k=5, query_k=10)"),
    (FUSERS, "vote(3, (1, 2))", "vote(depth=3, weights=(1.0, 2.0))"),
    (
        FUSERS,
        "sum_top(5, weights=(1, 2), union=True)",
        "sum_top(per_model=5, weights=(1.0, 2.0), keep=100, union=True)",
    ),
    (FUSERS, "distance_average((1, 2))", "distance_average(scale='max', weights=(1.0, 2.0))"),
    (FUSERS, "reciprocal_rank()", "reciprocal_rank(k=60)"),
]


@pytest.mark.parametrize(("members", "recipe", "written"), WRITTEN, ids=[row[2] for row in WRITTEN])
def test_a_part_knows_its_call_as_earlier_files_have_it(members, recipe, written):
    assert build(recipe, members).call == written


@pytest.mark.parametrize(("members", "recipe", "written"), WRITTEN, ids=[row[2] for row in WRITTEN])
def test_the_call_of_a_part_builds_a_part_of_the_same_call(members, recipe, written):
    assert build(written, members).call == written


def test_a_default_of_none_that_is_not_taken_is_told():
    assert build("sum_top(keep=None)", FUSERS).call == "sum_top(per_model=750, keep=None)"
    assert build("reciprocal_rank(k=0)", FUSERS).call == "reciprocal_rank(k=0)"


def test_a_part_built_by_its_class_knows_its_call_too(tmp_path):
    assert KReciprocal(k1=4).call == build("k_reciprocal(k1=4)", RERANKERS).call
    assert Exact(np.int64(3)).call == "exact(k=3, metric='cosine')"
    assert Aqe(2, alpha=np.float64(0.5)).call == "aqe(k=2, times=1, alpha=0.5)"
    assert Whiten(4).call == "pca(dim=4, whiten=True)"
    part = RERANKERS.get("non_landmark")(tmp_path)
    assert build(part.call, RERANKERS).reference == str(tmp_path)


def test_other_weights_give_another_call_and_leave_the_first():
    part = Vote(depth=3)
    assert part.reweigh([1, 3]).call == "vote(depth=3, weights=(1.0, 3.0))"
    assert part.call == "vote(depth=3)"


def test_what_has_no_frame_knows_its_call_when_it_is_built():
    assert build("map(10)", METRICS).call == "map(k=10, trapezoid=False)"
    assert build("cmc(1, 5)", METRICS).call == "cmc(1, 5)"


def test_runtime_arguments_are_not_told():
    made = Registry("toy", "Made for a test.")

    @made.register()
    class Part:
        def __init__(self, k=3, labels=None, **more):
            pass

    @made.register()
    def numbers(k):
        return [k]

    assert build("part(size=2)", made, labels=np.arange(3)).call == "part(k=3, size=2)"
    assert build("numbers(4)", made) == [4]


@pytest.fixture
def rerankers():
    """The registry of re-rankers, emptied afterwards of what a test has put in."""
    before = dict(RERANKERS)  # with all our own parts, which load once a process
    yield RERANKERS
    RERANKERS._obj_map.clear()
    RERANKERS._obj_map.update(before)


def test_a_class_of_a_registered_one_is_stamped_with_its_own_call(rerankers):
    @rerankers.register()
    class Nearer(KReciprocal):
        def __init__(self, k1=3):
            super().__init__(k1, 1)

    assert Nearer().call == "nearer(k1=3)" and Nearer().k2 == 1


def test_what_a_class_need_not_say_has_its_default(rerankers):
    @rerankers.register()
    class Same:
        def __call__(self, ranking, queries, gallery):
            return ranking.scores

    @rerankers.register()
    def same_made(bold=False):
        return lambda ranking, queries, gallery: ranking.scores

    assert build("same()", rerankers).inserts is False
    assert build("same_made()", rerankers).inserts is False
    assert build("same_made(True)", rerankers).call == "same_made(bold=True)"


def test_a_plugin_is_a_module_or_a_file_and_is_imported_once(tmp_path, monkeypatch, rerankers):
    text = (
        "from fastseek.registry import RERANKERS\n"
        "@RERANKERS.register()\n"
        "class {}:\n"
        "    def __call__(self, ranking, queries, gallery):\n"
        "        return ranking.scores\n"
    )
    (tmp_path / "one.py").write_text(text.format("One"))
    (tmp_path / "two_plugin.py").write_text(text.format("Two"))
    monkeypatch.syspath_prepend(tmp_path)
    file = str(tmp_path / "one.py")
    assert load_plugins([file, "two_plugin"])[0] is import_plugin(file)
    assert build("one", rerankers).call == "one()" and build("two", rerankers).call == "two()"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "FileNotFoundError: no such file"),
        ("1 / 0", "ZeroDivisionError"),
        ("def (", "SyntaxError"),
        ("raise KeyError('moon')", "KeyError: 'moon'"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named_with_the_cause(tmp_path, text, told):
    path = tmp_path / "broken.py"
    if text is not None:
        path.write_text(text)
    for _ in range(2):  # a file that failed is not half there
        with pytest.raises(UsageError, match=f"broken.py' cannot be imported .{told}"):
            import_plugin(str(path))


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="'no_such_plugin_x' cannot be imported"):
        load_plugins(["no_such_plugin_x"])
