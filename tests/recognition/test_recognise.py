"""The recognition pipeline against loops in float64, and as a user starts it."""

import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import processes
import toy
from fastseek.cli._recognize import recognize_files
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.formats.gldv2 import read_recognition
from fastseek.recognition.predict import RecognitionInput, recognize
from fastseek.structures import Embeddings

ROOT = pathlib.Path(__file__).parents[2]


def member(seed, queries=12, reference=30, pictures=15, dim=6, shift=0.0):
    random = np.random.default_rng(seed)
    return RecognitionInput(
        *(
            Embeddings(
                [f"{letter}{n:02d}" for n in range(count)],
                (random.normal(size=(count, dim)) + shift).astype(np.float32),
            )
            for letter, count in (("q", queries), ("r", reference), ("n", pictures))
        )
    )


def labels_of(seed, count=30, classes=6):
    return np.random.default_rng(seed).integers(0, classes, count).astype(str)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def bent(member):
    from sklearn.preprocessing import QuantileTransformer

    sides = [unit(side.vectors.astype(np.float64)) for side in member]
    transformer = QuantileTransformer(
        n_quantiles=min(1000, len(sides[0])), output_distribution="normal", subsample=None
    ).fit(sides[0])
    return [transformer.transform(side) for side in sides]


def slow(members, labels, quantiles=True, votes=3, gallery_k=5, query_k=10):
    """The seven steps of the winners, one query at a time."""
    sides = [
        bent(one) if quantiles else [unit(side.vectors.astype(np.float64)) for side in one]
        for one in members
    ]

    def best(cosines, k):
        return np.mean(sorted(cosines, reverse=True)[:k]) if k else 0.0

    whole = [unit(np.concatenate([side[part] for side in sides], axis=1)) for part in range(3)]
    answers = []
    for query in range(len(sides[0][0])):
        candidates = []
        for q, r, n in sides:
            q, r, n = unit(q), unit(r), unit(n)
            scores = [
                min(max(float(q[query] @ image), 0), 1) - best(n @ image, gallery_k) for image in r
            ]
            candidates += sorted(((score, -row) for row, score in enumerate(scores)), reverse=True)[
                :votes
            ]
        sums = {}
        for score, row in candidates:
            sums[labels[-row]] = sums.get(labels[-row], 0) + score
        label = max(sums, key=sums.get)
        answers.append((label, sums[label] - best(whole[2] @ whole[0][query], query_k)))
    return answers


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "options", [{}, {"votes": 1}, {"gallery_k": 0}, {"query_k": 0}, {"votes": 50, "gallery_k": 99}]
)
def test_predictions_are_those_of_the_steps_in_loops(count, options):
    """landmark rows 48 and 49."""
    for seed in range(3):
        members, labels = [member(10 * seed + n, dim=5 + n) for n in range(count)], labels_of(seed)
        found = recognize(members, labels, **options)
        expected = slow(members, labels, **options)
        assert found.ids.tolist() == members[0].queries.ids.tolist()
        assert found.labels.tolist() == [label for label, _ in expected]
        np.testing.assert_allclose(found.scores, [score for _, score in expected], atol=2e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(-2, 2), st.integers(1, 5))
def test_the_best_images_are_exact_whatever_the_signs_of_the_cosines(seed, shift, votes):
    one, labels = member(seed, dim=3), labels_of(seed)
    turned = RecognitionInput(
        one.queries,
        Embeddings(one.reference.ids, (one.reference.vectors - shift)),
        one.non_landmarks,
    )
    found = recognize([turned], labels, n_quantiles=0, votes=votes)
    expected = slow([turned], labels, False, votes)
    np.testing.assert_allclose(found.scores, [score for _, score in expected], atol=1e-5)


def test_a_worked_example():
    def at(*degrees):
        angles = np.radians(degrees)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    one = RecognitionInput(
        Embeddings(["p", "q"], at(0, 80)),
        Embeddings(list("abcd"), at(10, 25, 75, 90)),
        Embeddings(["n"], at(100)),
    )
    found = recognize([one], ["7", "7", "7", "8"], n_quantiles=0, votes=2)
    cos = np.cos(np.radians([10, 25, 90, 75, 100, 5, 10, 25, 20]))
    seven = cos[0] - cos[2] + cos[1] - cos[3] - cos[4]
    assert found.labels.tolist() == ["7", "7"]
    assert found.scores[0] == pytest.approx(seven, abs=1e-6)
    # q stands nearest to c and d, but those look like n: a and b have more left
    left = np.cos(np.radians([70, 55]))
    assert found.scores[1] == pytest.approx(left[0] - cos[2] + left[1] - cos[3] - cos[8], abs=1e-6)
    assert left[1] - cos[3] > cos[5] - cos[7]


def test_what_looks_like_no_landmark_scores_below_what_looks_like_one():
    random = np.random.default_rng(0)
    centres = random.normal(size=(5, 16)) * 2
    reference = np.repeat(centres, 6, axis=0) + 0.3 * random.normal(size=(30, 16))
    shown = np.repeat(centres, 2, axis=0) + 0.3 * random.normal(size=(10, 16))
    nothing = random.normal(size=(60, 16)) + 2.5
    one = RecognitionInput(
        Embeddings(
            [f"q{n}" for n in range(30)], np.concatenate([shown, nothing[:20]]).astype(np.float32)
        ),
        Embeddings([f"r{n}" for n in range(30)], reference.astype(np.float32)),
        Embeddings([f"n{n}" for n in range(40)], nothing[20:].astype(np.float32)),
    )
    found = recognize([one], np.repeat(np.arange(5), 6).astype(str))
    assert found.labels[:10].tolist() == np.repeat(np.arange(5), 2).astype(str).tolist()
    assert found.scores[:10].min() > found.scores[10:].max()


def test_a_query_among_the_pictures_is_not_compared_with_itself():
    """landmark row 48."""
    one, labels = member(1), labels_of(1)
    names = np.concatenate([one.queries.ids[:1], one.non_landmarks.ids])
    more = Embeddings(names, np.concatenate([one.queries.vectors[:1], one.non_landmarks.vectors]))
    renamed = Embeddings(["x", *one.non_landmarks.ids], more.vectors)
    same, other = (
        recognize([RecognitionInput(one.queries, one.reference, side)], labels, gallery_k=0).scores[
            0
        ]
        for side in (more, renamed)
    )
    assert (
        same == pytest.approx(recognize([one], labels, gallery_k=0).scores[0], abs=1e-6)
        and same > other
    )


def test_the_order_of_reference_queries_and_pictures_changes_nothing():
    one, labels = member(2), labels_of(2)
    random = np.random.default_rng(0)
    orders = [random.permutation(len(side)) for side in one]
    turned = RecognitionInput(
        *(
            Embeddings(side.ids[order], side.vectors[order])
            for side, order in zip(one, orders, strict=True)
        )
    )
    before, after = recognize([one], labels), recognize([turned], labels[orders[1]])
    assert before.labels[orders[0]].tolist() == after.labels.tolist()
    np.testing.assert_allclose(before.scores[orders[0]], after.scores, atol=1e-6)


def test_members_that_do_not_fit_are_refused():
    one, two, labels = member(1), member(2), labels_of(1)
    turned = Embeddings(two.reference.ids[::-1], two.reference.vectors)
    with pytest.raises(ArtefactError, match="member 2 has other reference than member 1"):
        recognize([one, two._replace(reference=turned)], labels)
    named = [
        Embeddings(side.ids, side.vectors, {"model": name})
        for side, name in zip(one, "aab", strict=True)
    ]
    with pytest.raises(
        ArtefactError, match="queries and non_landmarks of member 1 differ in model"
    ):
        recognize([RecognitionInput(*named)], labels)
    with pytest.raises(DataError, match="29 labels for 30 reference images"):
        recognize([one], labels[1:])


@pytest.mark.parametrize(
    "wrong", [{"votes": 0}, {"gallery_k": -1}, {"query_k": -1}, {"n_quantiles": 1}]
)
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(UsageError):
        recognize([member(0)], labels_of(0), **wrong)
    with pytest.raises(UsageError):
        recognize([], [])


def written(folder, count=2):
    members, paths = [member(n, dim=4 + n) for n in range(count)], [[], [], []]
    for number, one in enumerate(members):
        for place, side in enumerate(one):
            side.save(folder / f"{number}-{place}", rows=9)
            paths[place].append(str(folder / f"{number}-{place}"))
    labels = labels_of(0)
    rows = [
        f"{name},http://x,{label}"
        for name, label in zip(members[0].reference.ids, labels, strict=True)
    ]
    (folder / "train.csv").write_text(
        "\n".join(["id,url,landmark_id", *rows, "zzz,http://x,99"]) + "\n"
    )
    return members, labels, paths


def test_files_give_the_same_as_embeddings_and_a_submission_that_can_be_read(tmp_path):
    """landmark row 49."""
    members, labels, paths = written(tmp_path)
    told = recognize_files(*paths[:2], tmp_path / "train.csv", paths[2], tmp_path / "out.csv")
    found, read = recognize(members, labels), read_recognition(tmp_path / "out.csv")
    assert read.ids.tolist() == found.ids.tolist() and told.startswith("12 queries")
    assert read.landmarks.tolist() == [int(label) for label in found.labels]
    np.testing.assert_array_equal(read.scores, found.scores)


def test_labels_that_are_no_numbers_make_no_submission(tmp_path):
    _, _, paths = written(tmp_path)
    text = (tmp_path / "train.csv").read_text().replace("http://x,", "http://x,tower ")
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(DataError, match="train.csv:2: landmark must be a whole number"):
        recognize_files(*paths[:2], tmp_path / "train.csv", paths[2], tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    with pytest.raises(UsageError, match="of every model"):
        recognize_files(
            paths[0], paths[1][:1], tmp_path / "train.csv", paths[2], tmp_path / "out.csv"
        )


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_changed_byte_in_any_set_is_refused(tmp_path, place):
    _, _, paths = written(tmp_path, count=1)
    toy.flip(pathlib.Path(paths[place][0]) / "00001.vectors.npy")
    with pytest.raises(ArtefactError, match="00001.vectors.npy: the bytes are not those"):
        recognize_files(*paths[:2], tmp_path / "train.csv", paths[2], tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def start(*options):
    return processes.run("recognise.py", *options)


def test_the_tool_writes_a_submission_and_ends_with_what_happened(tmp_path):
    _, _, paths = written(tmp_path)
    embeddings = [
        word
        for name, side in zip(("--queries", "--reference", "--non-landmarks"), paths, strict=True)
        for path in side
        for word in (name, path)
    ]
    done = start(
        *embeddings,
        "--labels",
        tmp_path / "train.csv",
        "--out",
        tmp_path / "out.csv",
        "--quantiles",
        100,
    )
    assert done.returncode == 0, done.stderr
    assert len(read_recognition(tmp_path / "out.csv").ids) == 12
    failed = start(*embeddings, "--labels", tmp_path / "absent.csv", "--out", tmp_path / "out.csv")
    assert failed.returncode == 3 and "absent.csv" in failed.stderr
