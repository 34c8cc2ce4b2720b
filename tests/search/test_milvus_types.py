"""Index types of Milvus: their settings are typed, and refused by name; requests are made again while
a server is busy, and not for ever.
"""

import re

import numpy as np
import pytest

import milvus_server
from fastseek.errors import DataError, RunError, UsageError
from fastseek.registry import SEARCHERS, build
from fastseek.search import _milvus_connection
from fastseek.search._milvus_connection import MilvusConnection, is_busy, read_address
from fastseek.search._milvus_types import check_server, read_index_type
from fastseek.search._milvus_vectors import check_vector_type, decode_vectors, encode_vectors
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings

pymilvus = pytest.importorskip("pymilvus")
SERVER = pytest.mark.skipif(not milvus_server.THERE, reason="the wheel milvus is not installed")


@pytest.mark.parametrize(
    ("call", "build", "search"),
    [
        ("flat", {}, {}),
        ("AUTOINDEX", {}, {}),
        ("IVF_FLAT(nlist=16)", {"nlist": 16}, {"nprobe": 64}),
        ("IVF_SQ8(nprobe=9)", {"nlist": 1024}, {"nprobe": 9}),
        ("IVF_PQ", {"nlist": 1024, "m": 64, "nbits": 8}, {"nprobe": 64}),
        ("HNSW(M=8, ef=300)", {"M": 8, "efConstruction": 200}, {"ef": 300}),
        ("SCANN", {"nlist": 1024, "with_raw_data": True}, {"nprobe": 64, "reorder_k": 200}),
        ("DISKANN", {}, {"search_list": 150}),
        ("GPU_CAGRA(graph_degree=32)", {"graph_degree": 32}, {}),
        ("IVF_RABITQ(refine=True)", {"nlist": 1024, "refine": True}, {"nprobe": 64}),
    ],
)
def test_a_type_is_built_and_searched_with_what_was_named_and_else_with_what_is_usual(
    call, build, search
):
    made = read_index_type(call)
    assert made.build_settings(128) == build and made.search_settings(150) == search
    assert read_index_type(str(made)) == made


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("IVF_FLATT", "no index type 'IVF_FLATT'; did you mean 'IVF_FLAT'?"),
        ("HNSW(nlist=16)", "HNSW has no setting 'nlist'; it has M, efConstruction, ef"),
        ("FLAT(nlist=16)", "FLAT has no setting 'nlist', and needs none"),
        ("HNSW(M=1)", "M must be 2 to 2048, got 1"),
        ("HNSW(M='16')", "M must be a whole number, got '16'"),
        ("HNSW(M=True)", "M must be a whole number, got True"),
        ("SCANN(with_raw_data=1)", "with_raw_data must be True or False, got 1"),
        ("IVF_FLAT(16)", "name its settings"),
        ("HNSW_SQ(refine_k=0.5)", "refine_k must be 1 to 1e+06, got 0.5"),
    ],
)
def test_a_setting_that_is_wrong_for_the_type_is_refused_by_name(call, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        read_index_type(call)
    with pytest.raises(UsageError, match=re.escape(told)):
        build(f"milvus(uri='http://h:1', index={call!r})", SEARCHERS)


def test_what_does_not_fit_vectors_or_k_or_the_server_is_refused():
    with pytest.raises(UsageError, match="m must divide the 10 numbers"):
        read_index_type("IVF_PQ(m=4)").build_settings(10)
    with pytest.raises(UsageError, match="ef must be k or more, 100, got 50"):
        read_index_type("HNSW(ef=50)").search_settings(100)
    with pytest.raises(UsageError, match="M is a setting of building"):
        read_index_type("HNSW").search_with({"M": 4})
    with pytest.raises(UsageError, match="no setting 'nprobe'"):
        read_index_type("HNSW").search_with({"nprobe": 4})
    with pytest.raises(UsageError, match="IVF_RABITQ needs Milvus 2.6"):
        check_server(read_index_type("IVF_RABITQ"), False, (2, 5, 9))
    check_server(read_index_type("IVF_RABITQ"), False, (2, 6, 0))
    with pytest.raises(UsageError, match="metric must be cosine"):
        check_vector_type("int8", "l2", False, (2, 6))
    with pytest.raises(UsageError, match="vectors of float32 only"):
        check_vector_type("float16", "l2", True, ())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_vectors_travel_as_pymilvus_takes_them(dtype):
    """No server at hand has them, so the request is looked at."""
    from pymilvus.client.prepare import Prepare

    pytest.importorskip("ml_dtypes")
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    sent = encode_vectors(vectors, dtype)
    near = {"float32": 0, "float16": 1e-3, "bfloat16": 4e-3, "int8": 5e-3}[dtype]
    np.testing.assert_allclose(decode_vectors(list(sent), dtype), vectors, atol=near)
    np.testing.assert_allclose(
        decode_vectors([one.tobytes() for one in sent], dtype)
        if dtype != "float32"
        else decode_vectors(sent, dtype),
        vectors,
        atol=near,
    )
    kind = {"float32": 101, "float16": 102, "bfloat16": 103, "int8": 105}[dtype]
    assert Prepare._prepare_placeholder_str(list(sent)) is not None
    assert check_vector_type(dtype, "cosine", False, (2, 6)).milvus == pymilvus.DataType(kind).name
    if dtype == "float16":
        with pytest.raises(DataError, match="too long for float16"):
            encode_vectors(vectors * 1e6, dtype)


def test_a_uri_says_how_it_is_read_and_searched():
    told = read_address("milvus://host:1?consistency=bounded&nprobe=9&refine_k=1.5")
    assert told == ("http://host:1", "Bounded", {"nprobe": 9, "refine_k": 1.5})
    assert read_address("a/b.db").embedded and read_address("a/b.db").consistency == "Strong"
    for uri, why in (
        ("milvus://h:1?consistency=often", "consistency must be one of strong, bounded"),
        ("milvus://h:1?ef=much", "ef in a URI of Milvus must be a number"),
        ("somewhere", "ends in .db"),
    ):
        with pytest.raises(UsageError, match=why):
            read_address(uri)


class Failure(pymilvus.exceptions.MilvusException):
    pass


@pytest.mark.parametrize(
    ("code", "message", "busy"),
    [
        (8, "request is rejected by rate limiter", True),
        (65535, "node offline[node=3]", True),
        (101, "collection not loaded", True),
        (1100, "cannot parse expression", False),
        (65535, "invalid index type", False),
    ],
)
def test_what_is_busy_is_asked_again_and_what_is_wrong_is_not(
    code, message, busy, monkeypatch, caplog
):
    monkeypatch.setattr(_milvus_connection, "PAUSES", (0, 0, 0))
    connection = MilvusConnection.__new__(MilvusConnection)
    connection.uri, connection.embedded = "http://me:secret@host:1", False
    calls, fails = [], 2

    class Client:
        def count(self, **_):
            calls.append(1)
            if len(calls) <= fails:
                raise Failure(code=code, message=message)
            return 7

    connection.client = Client()
    assert is_busy(Failure(code=code, message=message)) is busy
    if busy:
        assert connection.call("count", "count") == 7 and len(calls) == 3
        assert caplog.text.count("could not count yet") == 2 and "secret" not in caplog.text
        fails = 99
    with pytest.raises(RunError, match="host:1 could not count"):
        connection.call("count", "count")
    assert len(calls) == (3 + 4 if busy else 1)  # and no more


@SERVER
def test_a_server_searches_by_its_settings_and_only_a_change_stores_again():
    random = np.random.default_rng(0)
    gallery = Embeddings(
        [f"g{n:03}" for n in range(300)], random.normal(size=(300, 8)).astype("f4")
    )
    queries = Embeddings(["a", "b"], random.normal(size=(2, 8)).astype("f4"))
    uri = milvus_server.shared_uri()
    call = f"milvus(k=7, uri={uri!r}, collection='types', index='IVF_FLAT(nlist=16, nprobe=16)')"
    found = build(call, SEARCHERS)(queries, gallery)
    exact = Exact(k=7)(queries, gallery)
    np.testing.assert_array_equal(found.indices, exact.indices)
    assert found.provenance["recall"]["value"] == 1.0
    again = build(call.replace("nprobe=16", "nprobe=1"), SEARCHERS)(queries, gallery)
    assert again.provenance["engine"] == "milvus v2.3.5-lite"
