"""YAML files: what is kept of one that was read is nobody else's."""

from fastseek.io.yaml_lines import read_yaml


def test_a_file_read_twice_is_two_documents_and_a_changed_one_is_read_anew(tmp_path):
    path = tmp_path / "a.yml"
    path.write_text("SEEK:\n  TRAIN: [a, b]\n")
    first = read_yaml(path)
    first.values["SEEK"]["TRAIN"].append("c")
    first.lines.clear()
    second = read_yaml(path)
    assert second.values == {"SEEK": {"TRAIN": ["a", "b"]}}
    assert second.where("SEEK.TRAIN") == f"{path}:2"
    path.write_text("# changed\nSEEK:\n  TRAIN: [a]\n")
    third = read_yaml(path)
    assert third.values == {"SEEK": {"TRAIN": ["a"]}} and third.where("SEEK.TRAIN") == f"{path}:3"


def test_files_of_one_text_keep_their_own_names(tmp_path):
    for name in ("a.yml", "b.yml"):
        (tmp_path / name).write_text("KEY: 1\n")
        assert read_yaml(tmp_path / name).where("KEY") == f"{tmp_path / name}:1"
