"""Weights of a hub that is played by this test: pinned at the first fetch, checked from then on."""

import hashlib
import types

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from safetensors.torch import save_file

from fastseek.cli import call_verb
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.inference.pretrained import catalog, hub_weights, inventory, load_model
from fastseek.inference.pretrained.timm_models import find_repo

REPO = "timm/test_vit.r160_in1k"
NAME = "timm:test_vit.r160_in1k"


class Hub:
    """A repository with one file, and the cache of its client."""

    def __init__(self, folder):
        self.folder, self.online, self.commit, self.asked = folder, True, "c0ffee", []
        self.weights = folder / "weights.safetensors"
        torch.manual_seed(0)
        save_file(timm.create_model("test_vit").state_dict(), self.weights)

    def download(self, repo, file, revision=None, local_files_only=False):
        commit = revision or self.commit
        path = self.folder / repo.replace("/", "--") / "snapshots" / commit / file
        if path.exists() and (revision or local_files_only):
            return str(path)
        if local_files_only or not self.online:
            raise LocalEntryNotFoundError("not in the cache")
        self.asked.append((repo, file, revision))
        if file != "model.safetensors":
            raise RemoteEntryNotFoundError(
                "404", response=types.SimpleNamespace(headers={}, request=None)
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.weights.read_bytes())
        return str(path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", made.download)
    monkeypatch.setattr(hub_weights, "find_fault", lambda: "" if made.online else "no network")
    return made


def test_the_first_fetch_is_remembered_with_its_revision_and_hash(hub):
    found = hub_weights.fetch_weights(REPO)
    digest = hashlib.sha256(hub.weights.read_bytes()).hexdigest()
    assert (found.sha256, found.revision) == (digest, "c0ffee")
    hub.commit = "newer"  # a newer revision is none of ours
    hub.online = False
    assert hub_weights.fetch_weights(REPO) == found
    assert hub.asked == [(REPO, "model.safetensors", None)]


def test_a_file_that_was_changed_is_refused(hub):
    found = hub_weights.fetch_weights(REPO)
    found.path.write_bytes(found.path.read_bytes() + b"\0")
    with pytest.raises(ArtefactError, match=f"SHA-256 .*, but {found.sha256} is pinned"):
        hub_weights.fetch_weights(REPO)


def test_a_pin_of_the_catalogue_decides_before_anything_was_fetched(hub, monkeypatch):
    pin = {"file": "model.safetensors", "revision": "pinned", "sha256": "0" * 64}
    monkeypatch.setattr(catalog, "read_catalog", lambda: {"models": [], "pins": {REPO: pin}})
    with pytest.raises(ArtefactError, match="is pinned"):
        hub_weights.fetch_weights(REPO)
    assert hub.asked == [(REPO, "model.safetensors", "pinned")]


def test_without_network_the_message_says_what_to_do(hub):
    hub.online = False
    with pytest.raises(DataError, match="no network.*needs the network once; or copy model"):
        load_model(NAME)
    assert hub.asked == []


def test_a_repository_without_weights_is_told(hub):
    with pytest.raises(DataError, match=r"has none of tf_model\.h5"):
        hub_weights.fetch_weights(REPO, "tf_model.h5")


def test_a_model_of_the_hub_is_loaded_and_says_where_it_is_from(hub):
    model = load_model("timm:test_vit")  # the tag that timm gives it
    assert find_repo("test_vit") == (REPO, "")
    assert model.provenance["weights"]["repo"] == REPO
    assert model.provenance["weights"]["revision"] == "c0ffee"


def test_models_fetch_list_info_and_verify(hub, capsys):
    call_verb("models", ["fetch", NAME])
    assert "revision c0ffee, SHA-256" in capsys.readouterr().out
    call_verb("models", ["list"])
    rows = capsys.readouterr().out.splitlines()
    assert any(row.startswith(NAME) and "here" in row for row in rows)
    assert any(row.startswith("default") and "here" in row for row in rows)
    assert any("dinov3" in row and "to fetch" in row for row in rows)
    call_verb("models", ["info", NAME])
    told = capsys.readouterr().out
    assert "0.3 million parameters" in told and "160 x 160" in told and "here" in told
    call_verb("models", ["verify"])
    told = capsys.readouterr().out
    assert f"{NAME}: as pinned" in told and "default: as pinned" in told
    next(hub.folder.glob("timm--*/snapshots/*/*")).write_bytes(b"x")
    with pytest.raises(ArtefactError, match="is pinned"):
        call_verb("models", ["verify"])


def test_every_model_of_the_list_is_one_that_timm_knows_and_the_hub_has():
    for name in catalog.list_names():
        if name != "default":
            assert find_repo(inventory._network_of(name))[0].startswith("timm/")


def test_info_of_what_is_none_is_wrong_use():
    with pytest.raises(UsageError, match="expected default, or timm:NETWORK"):
        inventory.describe_model("resnet18")
