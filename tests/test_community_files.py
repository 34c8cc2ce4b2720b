"""What stands beside the code for people who join in, checked against the code it speaks of."""

from __future__ import annotations

import pathlib
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import fastseek

ROOT = pathlib.Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
YAML_FILES = [
    *WORKFLOWS,
    *FORMS,
    ROOT / ".github" / "dependabot.yml",
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
    ROOT / "mkdocs.yml",
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


class UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key written twice, of which PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f"line {node.start_mark.line + 1}: {twice} twice"
        return super().construct_mapping(node, deep)


def read_yaml(path: pathlib.Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)


def file_name(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def makefile() -> dict[str, list[str]]:
    """The targets of the Makefile, each with its recipe lines, `$(BIN)` written out."""
    targets: dict[str, list[str]] = {}
    lines: list[str] = []
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.replace("$(BIN)", ".venv/bin").splitlines():
        if found := re.match(r"([a-z-]+):(?!=)", line):
            lines = targets.setdefault(found[1], [])
        elif line.startswith("\t"):
            lines.append(" ".join(line.split()))
        else:
            lines = []
    return targets


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def commands(workflow: dict[str, Any]) -> Iterator[str]:
    """Every line that a workflow runs, continuation lines joined."""
    for step in steps(workflow):
        yield from step.get("run", "").replace("\\\n", " ").splitlines()


def python_versions(workflow: dict[str, Any]) -> list[str]:
    """The values of the matrix of Python versions over all jobs, sorted."""
    versions: set[str] = set()
    for job in workflow["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        versions.update(matrix.get("python", []))
        versions.update(row["python"] for row in matrix.get("include", []))
    return sorted(versions)


@pytest.mark.parametrize("path", YAML_FILES, ids=file_name)
def test_every_yaml_file_is_valid_and_says_nothing_twice(path):
    assert isinstance(read_yaml(path), dict)


def test_a_key_written_twice_is_noticed():
    with pytest.raises(AssertionError, match="twice"):
        yaml.load("a: 1\na: 2\n", UniqueKeys)


@pytest.mark.parametrize("path", WORKFLOWS, ids=file_name)
def test_a_workflow_is_complete_and_asks_for_no_more_rights_than_reading(path):
    workflow = read_yaml(path)
    # YAML 1.1 reads the key `on` as the truth value.
    assert {"name", True, "permissions", "jobs"} <= set(workflow)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["runs-on"], name
        assert job["timeout-minutes"] <= 60, name
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), f"{name}: {step}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=file_name)
def test_every_action_is_pinned_to_a_major_version(path):
    used = [step["uses"] for step in steps(read_yaml(path)) if "uses" in step]
    assert used
    loose = [action for action in used if not re.fullmatch(r"[\w./-]+@(v|release/v)\d+", action)]
    assert loose == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=file_name)
def test_every_make_target_of_a_workflow_exists(path):
    targets = makefile()
    named = [
        word
        for line in commands(read_yaml(path))
        if line.split()[:1] == ["make"]
        for word in line.split()[1:]
        if not word.startswith("-") and "=" not in word
    ]
    assert [target for target in named if target not in targets] == []


def test_the_workflows_run_the_commands_of_the_project():
    lines = [line for path in WORKFLOWS for line in commands(read_yaml(path))]
    for target in ("make lint", "make test", "make docs"):
        assert any(line.startswith(target) for line in lines), target
    assert any("mkdocs build --strict" in line for line in makefile()["docs"])


def test_every_extra_a_workflow_installs_exists():
    extras = PROJECT["optional-dependencies"]
    for path in WORKFLOWS:
        for line in commands(read_yaml(path)):
            for names in re.findall(r'"\.\[([\w,]+)\]"', line):
                assert set(names.split(",")) <= set(extras), f"{path.name}: {line}"


def test_the_tests_run_on_the_python_versions_the_package_promises():
    workflow = read_yaml(ROOT / ".github" / "workflows" / "tests.yml")
    prefix = "Programming Language :: Python :: 3."
    classifiers = [line for line in PROJECT["classifiers"] if line.startswith(prefix)]
    promised = [f"3.{line.removeprefix(prefix)}" for line in classifiers]
    assert python_versions(workflow) == sorted(promised)
    assert PROJECT["requires-python"] == f">={min(promised)}"


def test_the_dependencies_are_tested_at_their_lowest_and_their_newest():
    jobs = read_yaml(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]
    rows = jobs["resolved"]["strategy"]["matrix"]["include"]
    assert {row["resolution"] for row in rows} == {"lowest-direct", "highest"}
    lowest = next(row for row in rows if row["resolution"] == "lowest-direct")
    assert PROJECT["requires-python"] == f">={lowest['python']}"


def test_every_workflow_names_the_pinned_fastreid():
    pinned = re.search(
        r"^fastreid==\S+", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert pinned
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    assert set(re.findall(r"fastreid==\S+", text)) == {pinned[0]}


def test_the_hooks_before_a_commit_are_the_commands_of_make_lint():
    hooks = [
        hook
        for repository in read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
        for hook in repository["hooks"]
    ]
    assert [hook["entry"] for hook in hooks] == makefile()["lint"]
    # Only so is the tool that runs the one of the Makefile's environment, on all files.
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks)


def test_the_citation_is_of_this_version_and_licence():
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == fastseek.__version__
    assert citation["license"] == PROJECT["license"]
    for key in ("message", "title", "authors"):
        assert citation[key], key


@pytest.mark.parametrize(
    "path", [path for path in FORMS if path.name != "config.yml"], ids=file_name
)
def test_an_issue_form_has_what_the_host_of_the_repository_asks_for(path):
    form = read_yaml(path)
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(set(ids)) == len(ids)
    assert any(field.get("validations", {}).get("required") for field in fields)
    for field in fields:
        assert field["type"] in ("input", "textarea", "dropdown", "checkboxes")
        assert field["attributes"]["label"], field["id"]


def test_every_file_the_community_pages_link_to_is_there():
    pages = [
        ROOT / name
        for name in ("CODE_OF_CONDUCT.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
    ]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_editor_is_told_the_line_length_of_the_formatter():
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    config = (ROOT / ".editorconfig").read_text(encoding="utf-8")
    assert re.findall(r"^max_line_length = (\d+)$", config, re.MULTILINE) == [
        str(ruff["line-length"])
    ]
