"""Runs of the suite beside each other keep their temporary files."""

import os

import run_folder


def test_a_folder_goes_once_its_process_has_ended_and_no_sooner(tmp_path):
    ended = os.fork()
    if not ended:
        os._exit(0)
    os.waitpid(ended, 0)
    kept = [tmp_path / f"{run_folder.PREFIX}{os.getpid()}-a", tmp_path / "another"]
    gone = tmp_path / f"{run_folder.PREFIX}{ended}-b"
    for folder in (*kept, gone):
        folder.mkdir()
        (folder / "file").touch()
    run_folder.remove_ended(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_this_run_has_a_folder_of_its_own(tmp_path_factory, request):
    """Unless another is asked for."""
    folder = tmp_path_factory.getbasetemp()
    given = request.config.option.basetemp
    assert given and str(folder).startswith(str(given))
