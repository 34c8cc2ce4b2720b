"""Submissions of classifiers: Sorghum-100, iNat 2021, Semi-iNat 2021."""

import json

import numpy as np
import pytest

from fastseek.cli.submit import main
from fastseek.errors import DataError, UsageError
from fastseek.formats import inat, semi_inat, sorghum
from fastseek.formats.class_answers import best_classes, class_number, match_images
from fastseek.structures import Embeddings


def classified(folder, names, classes, seed=0):
    """A folder as `fastseek classify` writes it."""
    table = np.random.default_rng(seed).dirichlet(np.ones(len(classes)), len(names))
    made = Embeddings(np.array(names), table.astype(np.float32), {"classes": classes})
    made.save(folder)
    return made.vectors


def test_F56_sorghum_names_the_cultivar_of_every_listed_image(tmp_path, capsys):
    vectors = classified(tmp_path / "c", ["test/2.jpeg", "test/1.jpeg", "test/9.jpeg"], ["a", "b"])
    (tmp_path / "sample.csv").write_text("filename,cultivar\n1.png,x\n2.png,x\n")
    submit(tmp_path, "sorghum", "sample.csv")
    said = [["a", "b"][row.argmax()] for row in vectors]
    assert (tmp_path / "s.csv").read_text() == (
        f"filename,cultivar\n1.png,{said[1]}\n2.png,{said[0]}\n"
    )
    assert "2 images, 1 classes each" in capsys.readouterr().out


def test_F56_inat_gives_three_category_numbers_by_the_number_of_the_image(tmp_path):
    classes = ["00000", "00007", "00123_Animalia", "04000"]
    vectors = classified(tmp_path / "c", ["a.jpg", "b.jpg"], classes)
    page = {"images": [{"id": 31, "file_name": "test/b.jpg"}, {"id": 7, "file_name": "test/a.jpg"}]}
    (tmp_path / "test.json").write_text(json.dumps(page))
    submit(tmp_path, "inat", "test.json")
    numbers = np.array([0, 7, 123, 4000])
    rows = [" ".join(map(str, numbers[np.argsort(-row)[:3]])) for row in vectors]
    assert (tmp_path / "s.csv").read_text() == f"Id,Predicted\n31,{rows[1]}\n7,{rows[0]}\n"
    with pytest.raises(UsageError, match="--images test.json"):
        submit(tmp_path, "inat")


def test_F56_semi_inat_gives_five_classes_and_takes_what_was_classified_without_a_list(tmp_path):
    classes = [str(number) for number in range(8)]
    vectors = classified(tmp_path / "c", ["test/a.jpg", "test/b.jpg"], classes)
    submit(tmp_path, "semi-inat")
    rows = [" ".join(map(str, np.argsort(-row)[:5])) for row in vectors]
    assert (tmp_path / "s.csv").read_text() == f"Id,Category\na.jpg,{rows[0]}\nb.jpg,{rows[1]}\n"


def submit(home, kind, images=None):
    listed = ["--images", str(home / images)] if images else []
    main([kind, "--classified", str(home / "c"), *listed, "--out", str(home / "s.csv")])


def test_F56_what_cannot_be_handed_in_is_refused_and_nothing_is_written(tmp_path):
    classified(tmp_path / "c", ["a.jpg", "b/c.jpg"], ["apple", "pear"])
    (tmp_path / "list.csv").write_text("Id\na.jpg\nlost.jpg\n")
    with pytest.raises(DataError, match="1 of 2 images were not classified, the first is 'lost"):
        submit(tmp_path, "semi-inat", "list.csv")
    with pytest.raises(DataError, match="'apple' begins with no number|'pear' begins"):
        submit(tmp_path, "semi-inat")
    with pytest.raises(DataError, match="could both be 'a'"):
        match_images(["x/a.jpg", "y/a.jpg"], ["a.jpg"], "list")
    assert not (tmp_path / "s.csv").exists()
    assert class_number("00078_Animalia_Chordata") == 78


def test_equal_probabilities_stand_by_class_number():
    table = np.array([[0.2, 0.4, 0.4, 0.0]], np.float32)
    assert best_classes(table, 3).tolist() == [[1, 2, 0]]


def test_F56_the_lists_of_the_contests_are_read(tmp_path):
    (tmp_path / "train.csv").write_text("image,cultivar\n1.png,PI_1\n.DS_Store,\n2.png,PI_2\n")
    found = sorghum.read_train(tmp_path / "train.csv")
    assert found.labels == {"1.png": "PI_1", "2.png": "PI_2"} and found.left_out == [".DS_Store"]
    taxon = {"kingdom": "Animalia", "phylum": "Chordata"}
    page = {
        "annotations": [{"class_id": 3, **taxon}],
        "unlabeled_taxa": [{"image_name": "u/1.jpg", **taxon}],
    }
    (tmp_path / "annotation.json").write_text(json.dumps(page))
    taxa = semi_inat.read_annotations(tmp_path / "annotation.json")
    assert taxa.classes == {"3": "Animalia/Chordata"}
    assert taxa.unlabelled == {"u/1.jpg": "Animalia/Chordata"}
    (tmp_path / "annotation.json").write_text("[]")
    with pytest.raises(DataError, match="unlabeled_taxa"):
        semi_inat.read_annotations(tmp_path / "annotation.json")
    page = {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]}
    (tmp_path / "test.json").write_text(json.dumps(page))
    with pytest.raises(DataError, match="stands twice"):
        inat.read_images(tmp_path / "test.json")
