"""Blends of class probabilities, as files and through the tool."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

import processes
import toy
from fastseek import cli
from fastseek.classification.blend import blend_members
from fastseek.classification.evolve import cross_halves, halves
from fastseek.classification.refit import Refit
from fastseek.cli._blend import BlendOptions, blend_files
from fastseek.cli._join import Joined, join_files
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.structures import Embeddings

ROOT = pathlib.Path(__file__).parents[2]
CLASSES = ["ape", "bee", "cat", "doe", "eel"]


def table(truth, strength, seed):
    logits = np.random.default_rng(seed).normal(size=(len(truth), 5)) + strength * np.eye(5)[truth]
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """300 photos: two good members, three of noise, a prior that knows two thirds of the photos,
    the truth.
    """
    home = tmp_path_factory.mktemp("blend")
    truth = np.random.default_rng(0).integers(0, 5, 300)
    ids = np.array([f"p{n:03d}" for n in range(300)])
    (home / "truth.csv").write_text(
        "id,label\n"
        + "".join(f"{name},{CLASSES[one]}\n" for name, one in zip(ids, truth, strict=True))
    )
    for name, strength, seed in (
        ("a", 2.2, 1),
        ("b", 2.0, 2),
        ("x", 0, 3),
        ("y", 0, 4),
        ("z", 0, 5),
        ("prior", 2, 6),
    ):
        rows = np.random.default_rng(seed).permutation(300)[: 200 if name == "prior" else 300]
        columns = np.random.default_rng(seed).permutation(5)
        Embeddings(
            ids[rows],
            table(truth, strength, seed)[rows][:, columns],
            {"classes": [CLASSES[n] for n in columns], "kind": "probabilities"},
        ).save(home / name)
    (home / "classes.json").write_text(
        json.dumps({"labels": CLASSES[::-1], "counts": [50, 40, 30, 20, 10]})
    )
    return home


@pytest.mark.parametrize(
    "given", [{"folders": ["m"]}, {"folders": ["a"], "wanted": BlendOptions(prior="m")}]
)
def test_a_changed_byte_in_a_folder_is_refused(home, tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    for name in "am":
        Embeddings.load(home / "a").save(name)
    toy.flip(tmp_path / "m" / "00000.vectors.npy")
    with pytest.raises(ArtefactError, match="00000.vectors.npy: the bytes are not those"):
        blend_files(**given)


def page(home, names, **kwargs):
    return json.loads(
        blend_files([home / name for name in names], truth=home / "truth.csv", to="-", **kwargs)
    )


def test_the_tool_evolves_weights_proves_them_and_writes_what_it_says(home, tmp_path):
    """finegrained row 79."""
    done = processes.run(
        "blend.py",
        "--probabilities",
        *(home / one for one in "abxyz"),
        *("--evolve", "de", "--seed", "3"),
        *("--truth", home / "truth.csv"),
        *("--figures", "top(1, 2)", "class_mean"),
        *("--out", tmp_path / "out", "--json", tmp_path / "b.json"),
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "b.json").read_text())
    assert told["evolved"]["better"] and sum(told["weights"]) == pytest.approx(1)
    assert (
        min(told["weights"][:2]) > max(told["weights"][2:])
        and told["scored"] == "the held-out half"
    )
    figures = {row["name"]: row["metrics"] for row in told["rows"]}
    assert figures["equal weights"]["top(1)"] == pytest.approx(
        told["evolved"]["held_out"]["uniform"]
    )
    assert figures["evolved weights"]["top(1)"] == pytest.approx(
        told["evolved"]["held_out"]["evolved"]
    )
    assert "evolved weights; top-1 held out" in done.stdout and "class_mean" in done.stdout
    made = Embeddings.load(tmp_path / "out")
    assert len(made) == 300 and np.allclose(np.asarray(made.vectors).sum(1), 1, atol=1e-5)
    assert (
        made.provenance["blend"]["weights"] == told["weights"]
        and made.provenance["kind"] == "probabilities"
    )


def test_what_was_written_can_be_blended_again(home, tmp_path):
    blend_files([home / "a", home / "b"], out=tmp_path / "ab")
    again = page(home, ["a"], figures=["top(1)"])["rows"][0]["metrics"]
    assert (
        json.loads(blend_files([home / "a"], truth=home / "truth.csv", figures=["top(1)"], to="-"))[
            "rows"
        ][0]["metrics"]
        == again
    )
    rows = json.loads(
        blend_files(
            [tmp_path / "ab", home / "x"], truth=home / "truth.csv", figures=["top(1)"], to="-"
        )
    )
    assert [row["name"] for row in rows["rows"]] == [
        str(tmp_path / "ab"),
        str(home / "x"),
        "equal weights",
    ]


def test_where_nothing_is_to_be_gained_weights_stay_equal_and_that_is_told(home):
    """finegrained row 79: uniform fallback."""
    told = blend_files([home / "a", home / "a"], BlendOptions(evolve="de"), home / "truth.csv")
    assert "equal weights, as the evolved ones are not better" in told and told.count("0.500") == 2


def test_the_prior_multiplies_the_photos_it_knows_and_leaves_the_others(home, tmp_path):
    """finegrained row 76."""
    told = page(
        home,
        ["a", "b"],
        wanted=BlendOptions(prior=str(home / "prior"), power=0.5),
        figures=["top(1)"],
        out=tmp_path / "out",
    )
    assert [row["name"] for row in told["rows"]][-1] == "with the prior"
    figures = [row["metrics"]["top(1)"] for row in told["rows"]]
    assert figures[-1] > max(figures[:-1])
    members = [Embeddings.load(home / name) for name in ("a", "b", "prior")]
    lists = [
        {
            name: dict(zip(one.provenance["classes"], row.tolist(), strict=True))
            for name, row in zip(one.ids.tolist(), np.asarray(one.vectors), strict=True)
        }
        for one in members
    ]
    made = Embeddings.load(tmp_path / "out")
    for name, row in list(zip(made.ids.tolist(), np.asarray(made.vectors), strict=True))[::7]:
        mean = {c: (lists[0][name][c] + lists[1][name][c]) / 2 for c in CLASSES}
        product = {
            c: mean[c] * lists[2][name][c] ** 0.5 if name in lists[2] else mean[c] for c in CLASSES
        }
        expected = [product[c] / sum(product.values()) for c in made.provenance["classes"]]
        assert row.tolist() == pytest.approx(expected, abs=1e-5)


def test_figures_by_class_size_take_the_sizes_by_name(home):
    found = page(home, ["a"], figures=["by_size(25)"], classes=home / "classes.json")["rows"][0][
        "metrics"
    ]
    assert set(found) == {"top1[0-25]", "top1[>25]"}


def test_photos_the_truth_does_not_tell_of_are_not_scored(home, tmp_path):
    lines = (home / "truth.csv").read_text().splitlines()
    (tmp_path / "part.csv").write_text("\n".join(lines[:101]))
    told = json.loads(
        blend_files([home / "a"], truth=tmp_path / "part.csv", figures=["top(1)"], to="-")
    )
    truth = {line.split(",")[0]: line.split(",")[1] for line in lines[1:101]}
    member = Embeddings.load(home / "a")
    right = [
        member.provenance["classes"][row.argmax()] == truth[name]
        for name, row in zip(member.ids.tolist(), np.asarray(member.vectors), strict=True)
        if name in truth
    ]
    assert len(right) == 100 and told["rows"][0]["metrics"]["top(1)"] == pytest.approx(
        np.mean(right)
    )


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"wanted": BlendOptions(evolve="de")}, "truth"),
        ({"figures": ["top(1)"]}, "truth"),
        ({"wanted": BlendOptions(power=-1)}, "power"),
        ({"wanted": BlendOptions(mean="sum")}, "mean must be"),
    ],
)
def test_what_lacks_an_argument_says_which(home, kwargs, says):
    with pytest.raises(UsageError, match=says):
        blend_files([home / "a", home / "b"], **kwargs)


def test_sizes_and_logits_that_would_mislead_are_refused(home):
    with pytest.raises(UsageError, match=r"classes\.json"):
        page(home, ["a"], figures=["by_size(20)"])
    with pytest.raises(UsageError, match="mean of probabilities"):
        page(home, ["a", "b"], wanted=BlendOptions(mean="logits", evolve="de"))


def test_a_prior_of_other_classes_or_photos_is_refused(home, tmp_path):
    for ids, classes, says in (
        (["p000"], ["ape"], "classes"),
        (["other"], CLASSES, "none of the 300"),
    ):
        Embeddings(ids, np.ones((1, len(classes)), np.float32), {"classes": classes}).save(
            tmp_path / says[:4]
        )
        with pytest.raises(ArtefactError, match=says):
            blend_files([home / "a"], BlendOptions(prior=str(tmp_path / says[:4])))


def test_in_a_crossed_blend_no_photo_takes_part_in_its_own_weights():
    """finegrained row 79: changing the truth of one half changes only the other half's weights."""
    truth = np.random.default_rng(0).integers(0, 5, 120)
    stack = np.stack([table(truth, 2.0, 1), table(truth, 0, 2), table(truth, 0, 3)])
    ids = np.array([f"p{n:03d}" for n in range(120)])
    first, second = halves(truth, ids, 0)
    assert sorted([*first, *second]) == list(range(120))
    made, found = cross_halves(stack, truth, ids)
    for mine, one in ((first, found[0]), (second, found[1])):
        np.testing.assert_allclose(
            made[mine], blend_members(stack[:, mine], one.weights), atol=1e-6
        )
    lies = truth.copy()
    lies[first] = (lies[first] + 1) % 5
    again, other = cross_halves(stack, lies, ids)
    np.testing.assert_allclose(again[first], made[first])
    assert other[0] == found[0] and other[1] != found[1]


def test_F56_evolved_weights_are_used_for_other_images_whatever_the_order_of_the_members(
    home, tmp_path
):
    truth = np.random.default_rng(1).integers(0, 5, 40)
    for name, strength, seed in (("a", 2.2, 11), ("x", 0, 13)):
        made_by = {"classes": CLASSES, "model": f"hash of {name}"}
        old = Embeddings.load(home / name)
        rows = [old.provenance["classes"].index(label) for label in CLASSES]
        Embeddings(old.ids, np.asarray(old.vectors[:])[:, rows], made_by).save(tmp_path / name)
        ids = np.array([f"t{n}" for n in range(40)])
        Embeddings(ids, table(truth, strength, seed), made_by).save(tmp_path / f"test-{name}")
    evolved = tmp_path / "evolved.json"
    blend_files(
        [tmp_path / "a", tmp_path / "x"],
        BlendOptions(evolve="de"),
        home / "truth.csv",
        to=evolved,
    )
    weights = json.loads(evolved.read_text())["weights"]
    assert weights[0] > weights[1]
    given = BlendOptions(weights=str(evolved))
    blend_files([tmp_path / "test-x", tmp_path / "test-a"], given, out=tmp_path / "out")
    members = [Embeddings.load(tmp_path / f"test-{name}").vectors[:] for name in "ax"]
    expected = blend_members(np.stack(members), weights)
    np.testing.assert_allclose(Embeddings.load(tmp_path / "out").vectors[:], expected, atol=1e-6)
    with pytest.raises(ArtefactError, match="has weights of 2 models, and .*a is of none of them"):
        blend_files([home / "a", home / "b"], given)
    with pytest.raises(ArtefactError, match="the members are 1, of 1 models"):
        blend_files([tmp_path / "test-a"], given)
    evolved.write_text("{}")
    with pytest.raises(DataError, match="holds no weights of models"):
        blend_files([tmp_path / "test-a"], given)
    with pytest.raises(UsageError, match="evolved or given"):
        wanted = BlendOptions(evolve="de", weights=str(evolved))
        blend_files([tmp_path / "a"], wanted, home / "truth.csv")


def vectors(labels, noise, seed, width):
    centers = np.random.default_rng(width).normal(size=(3, width))
    random = np.random.default_rng(seed)
    return (centers[labels] + noise * random.normal(size=(len(labels), width))).astype(np.float32)


@pytest.fixture
def joined(tmp_path):
    """Two models of other widths: training and test embeddings, and labels of all but one."""
    labels = {"train": np.arange(30) % 3, "test": np.arange(12) % 3}
    for part, numbers in labels.items():
        ids = np.array([f"{part}{n:02d}" for n in range(len(numbers))])
        for model, width in (("a", 4), ("b", 6)):
            order = np.random.default_rng(width).permutation(len(ids))
            made = vectors(numbers, 0.3, len(ids) + width, width)
            Embeddings(ids[order], made[order], {"model": model}).save(tmp_path / f"{model}_{part}")
    rows = [f"train{n:02d},{'xyz'[one]}" for n, one in enumerate(labels["train"]) if n]
    (tmp_path / "labels.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    test, train = ([tmp_path / f"{model}_{part}" for model in "ab"] for part in ("test", "train"))
    return Joined(test, train, tmp_path / "labels.csv", (2.0, 1.0))


def test_F56_weighted_embeddings_of_several_models_stand_under_one_classifier(joined, tmp_path):
    """finegrained row 68, without an ablation."""
    told = join_files(joined, tmp_path / "out")
    assert "2 models side by side, 3 classes of 29 images; 12 images" in told
    assert "1 training images have no label and are left out" in told
    found = Embeddings.load(tmp_path / "out")
    parts = {}
    for part, folders in (("train", joined.train), ("test", joined.test)):
        members = [Embeddings.load(folder) for folder in folders]
        ids = sorted(members[0].ids.tolist())[part == "train" :]
        rows = [[one.ids.tolist().index(name) for name in ids] for one in members]
        parts[part] = [np.asarray(one.vectors)[row] for one, row in zip(members, rows, strict=True)]
    head = Refit([2.0, 1.0]).fit(parts["train"], np.arange(1, 30) % 3)
    order = np.argsort(found.ids)
    np.testing.assert_allclose(found.vectors[:][order], head(parts["test"], 3), atol=1e-5)
    assert (found.vectors[:][order].argmax(1) == np.arange(12) % 3).all()
    assert found.provenance["classes"] == ["x", "y", "z"]
    assert found.provenance["joined"]["weights"] == [2.0, 1.0]


def test_F56_models_that_do_not_fit_are_refused_before_anything_is_written(joined, tmp_path):
    for change, error, told in (
        ({"train": joined.train[::-1]}, ArtefactError, "training embeddings"),
        ({"train": joined.train[:1]}, UsageError, "one of each for every model"),
        ({"weights": (1.0,)}, UsageError, "one of each for every model"),
        ({"test": [joined.test[0], joined.train[1]]}, ArtefactError, "other images than"),
    ):
        with pytest.raises(error, match=told):
            join_files(dataclasses.replace(joined, **change), tmp_path / "out")
    with pytest.raises(UsageError, match="is an input"):
        join_files(joined, joined.test[0])
    assert not (tmp_path / "out").exists()


def test_F56_the_verb_joins_and_scores(joined, tmp_path, capsys):
    rows = [f"test{n:02d},{'xyz'[n % 3]}" for n in range(12)]
    (tmp_path / "truth.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    given = ["--embeddings", *joined.test, "--train", *joined.train, "--labels", joined.labels]
    given += ["--out", tmp_path / "out", "--truth", tmp_path / "truth.csv", "--metrics", "top(1)"]
    cli.call_verb("blend", [str(one) for one in given])
    assert "1.0000" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.call_verb("blend", ["--truth", "x"])
