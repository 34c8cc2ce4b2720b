"""The cleaning of GLDv2: neighbours, inliers, matches, classes."""

import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import processes
from fastseek.audit.clean_by_matches import clean_by_matches
from fastseek.audit.verification import Verification
from fastseek.cli._audit_clean import clean_file
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.formats.gldv2_lists import read_labelled
from fastseek.structures import Ranking

ROOT = pathlib.Path(__file__).parents[2]


@given(
    seed=st.integers(0, 10_000),
    inliers=st.integers(0, 40),
    matches=st.integers(1, 4),
    images=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_the_rule_is_that_of_three_loops(seed, inliers, matches, images):
    """landmark row 9."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 14))
    labels = random.integers(-1, 3, count)
    near = np.stack([random.permutation(count) for _ in range(count)])[:, :6]
    near[random.random(near.shape) < 0.1] = -1
    table = random.integers(0, 60, (count, count))
    table = np.minimum(table, table.T)
    asked = []
    found = clean_by_matches(
        labels, near, lambda a, b: asked.append((a, b)) or table[a, b], inliers, matches, images
    )
    good = []
    for row in range(count):
        agree = [
            other
            for other in near[row]
            if other >= 0
            and other != row
            and labels[other] == labels[row]
            and table[row, other] >= inliers
        ]
        if labels[row] >= 0 and len(agree) >= matches:
            good.append(row)
    kept = [row for row in good if sum(labels[other] == labels[row] for other in good) >= images]
    assert np.flatnonzero(found.keep).tolist() == kept
    assert len(set(asked)) == len(asked) == found.verified and all(a < b for a, b in asked)


def test_thirty_inliers_three_matches_and_two_images_are_the_least():
    """landmark row 9."""
    labels = np.asarray([7] * 5 + [8] * 4)
    near = np.asarray([[other for other in range(9) if other != row] for row in range(9)])
    count = {
        (0, 1): 30,
        (0, 2): 30,
        (0, 3): 29,
        (0, 4): 31,
        (1, 2): 30,
        (1, 3): 29,
        (1, 4): 30,
        (2, 4): 3,
    }
    found = clean_by_matches(labels, near, lambda a, b: count.get((a, b), 0))
    assert np.flatnonzero(found.keep).tolist() == [0, 1]
    del count[1, 4]
    assert not clean_by_matches(
        labels, near, lambda a, b: count.get((a, b), 0)
    ).keep.any()  # one image is no class


def test_labels_and_neighbours_must_belong_together():
    with pytest.raises(DataError, match="3 labels and neighbors"):
        clean_by_matches(np.zeros(3), np.zeros((2, 4), int), lambda a, b: 0)
    with pytest.raises(DataError, match="rows up to 5"):
        clean_by_matches(np.zeros(2), np.asarray([[5], [0]]), lambda a, b: 0)


def scene(seed, size=260):
    """A wall of boxes: corners that SIFT finds again."""
    random = np.random.default_rng(seed)
    grey = np.full((size, size), 128, np.uint8)
    for _ in range(150):
        x, y = random.integers(0, size - 20, 2)
        grey[y : y + random.integers(5, 30), x : x + random.integers(5, 30)] = random.integers(
            0, 256
        )
    return grey


def seen(seed, angle, scale=1.0):
    photo = Image.fromarray(scene(seed)).rotate(angle, Image.Resampling.BILINEAR, fillcolor=90)
    return photo.resize((int(260 * scale),) * 2, Image.Resampling.BILINEAR)


def test_views_of_one_scene_agree_and_others_do_not():
    photos = [
        np.asarray(seen(1, 0)),
        np.asarray(seen(1, 12, 0.9)),
        np.asarray(seen(2, 0)),
        None,
        np.full((60, 60), 7, np.uint8),
    ]
    verify = Verification(lambda row: photos[row])
    assert verify(0, 1) >= 30 > 2 * verify(0, 2)
    assert verify(0, 1) == verify(0, 1) and verify(0, 3) == verify(0, 4) == verify(3, 4) == 0


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Landmark 5: four views and a stray; landmark 9: three views; every image ranks all."""
    monkeypatch.chdir(tmp_path)
    plan = [
        ("aaa0", 5, 1, 0),
        ("aaa1", 5, 1, 8),
        ("aaa2", 5, 1, -8),
        ("aaa3", 5, 1, 15),
        ("abb4", 5, 3, 0),
        ("bbb0", 9, 2, 0),
        ("bbb1", 9, 2, 9),
        ("bbb2", 9, 2, -9),
    ]
    for name, _, seed, angle in plan:
        path = tmp_path / "train" / name[0] / name[1] / name[2] / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        seen(seed, angle).save(path, quality=95)
    ids = [name for name, *_ in plan]
    (tmp_path / "train.csv").write_text(
        "id,url,landmark_id\n" + "".join(f"{n},u,{label}\n" for n, label, *_ in plan)
    )
    indices = np.stack([np.roll(np.arange(8), -row) for row in range(8)])
    Ranking(ids, ids, indices, np.tile(-np.arange(8.0), (8, 1))).save("self.npz")
    Ranking(
        [f"{name[0]}/{name[1]}/{name[2]}/{name}.jpg" for name in ids[::-1]],
        [f"{name[0]}/{name[1]}/{name[2]}/{name}.jpg" for name in ids],
        indices[::-1],
        np.tile(-np.arange(8.0), (8, 1)),
    ).save("paths.npz")
    pairs = [(a, b, 40) for a in ids[:4] for b in ids[:4] if a < b] + [("bbb0", "bbb1", 99)]
    (tmp_path / "inliers.csv").write_text(
        "first,second,inliers\n" + "".join(f"{b},{a},{n}\n" for a, b, n in pairs)
    )
    return tmp_path


@pytest.mark.parametrize("ranking", ["self.npz", "paths.npz"])
@pytest.mark.parametrize("how", [{"images": "train"}, {"inliers": "inliers.csv"}])
def test_the_list_holds_what_verifies(home, ranking, how):
    """landmark row 9."""
    told = clean_file(ranking, "train.csv", "clean.csv", **how)
    assert told.startswith("4 of 8 images, 1 of 2 classes kept")
    kept = read_labelled("clean.csv")
    assert kept.ids.astype(str).tolist() == ["aaa0", "aaa1", "aaa2", "aaa3"] and set(
        kept.landmarks.tolist()
    ) == {5}
    clean_file(ranking, "train.csv", "clean.csv", least_matches=1, **how)
    ids = read_labelled("clean.csv").ids.astype(str).tolist()
    assert ids[4:6] == ["bbb0", "bbb1"] and "abb4" not in ids


def test_a_photo_that_cannot_be_read_agrees_with_nothing_and_is_counted(home):
    """landmark row 6."""
    (home / "train/a/a/a/aaa0.jpg").write_bytes(b"no photo")
    told = clean_file("self.npz", "train.csv", "clean.csv", images="train", least_matches=2)
    assert "1 images could not be read" in told
    assert read_labelled("clean.csv").ids.astype(str).tolist() == [
        "aaa1",
        "aaa2",
        "aaa3",
        "bbb0",
        "bbb1",
        "bbb2",
    ]


def test_what_does_not_fit_is_told(home):
    with pytest.raises(UsageError, match="either the folder of the images or a file of inliers"):
        clean_file("self.npz", "train.csv", "clean.csv")
    with pytest.raises(DataError, match="no image has 3 matches of 500 inliers"):
        clean_file("self.npz", "train.csv", "clean.csv", images="train", least_inliers=500)
    (home / "few.csv").write_text("id,landmark_id\naaa0,5\n")
    with pytest.raises(DataError, match="7 of 8 ranked images have no label, the first is 'aaa1'"):
        clean_file("self.npz", "few.csv", "clean.csv", inliers="inliers.csv")
    (home / "bad.csv").write_text("first,second,inliers\naaa0,aaa1,4\naaa0,zzz,4\n")
    with pytest.raises(DataError, match="bad.csv:3: the ranking holds no image 'zzz'"):
        clean_file("self.npz", "train.csv", "clean.csv", inliers="bad.csv")
    other = Ranking(["x"], ["a", "b"], [[0, 1]], [[1, 0]])
    other.save("other.npz")
    with pytest.raises(ArtefactError, match="2 gallery images are no queries"):
        clean_file("other.npz", "train.csv", "clean.csv", inliers="inliers.csv")
    Ranking(list("ab"), list("ab"), [[0], [1]], [[1], [1]]).save("short.npz")
    with pytest.raises(ArtefactError, match="lists 1 images each: search with k=101"):
        clean_file("short.npz", "train.csv", "clean.csv", inliers="inliers.csv")
    assert not (home / "clean.csv").exists()


def test_the_tool_writes_the_list(home):
    given = "--ranking self.npz --labels train.csv --inliers inliers.csv --out clean.csv"
    done = processes.run("audit.py", "clean", *given.split(), cwd=home)
    assert done.returncode == 0 and "4 of 8 images" in done.stdout, done.stderr
    assert (home / "clean.csv").read_text() == "landmark_id,images\n5,aaa0 aaa1 aaa2 aaa3\n"
