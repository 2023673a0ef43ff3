"""Files for containers, editors and GitHub: they name what is there, and run what is run here."""

import json
import re

import yaml

from tests.conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
DEVCONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")


def test_the_image_installs_the_lock_and_what_it_copies_is_there():
    (copied,) = re.findall(r"^COPY (.*) \./$", DOCKERFILE, re.MULTILINE)
    assert all((ROOT / name).is_file() for name in copied.split())
    (lock,) = re.findall(r"^ARG LOCK=(.*)$", DOCKERFILE, re.MULTILINE)
    assert lock in copied.split()
    assert "COPY . ." in DOCKERFILE  # with .git, which DVC works in
    assert ".git\n" not in (ROOT / ".dockerignore").read_text("utf-8")


def test_containers_tell_make_that_the_environment_is_there():
    (ready,) = re.findall(r"^\$\(VENV\)/(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for text in (DOCKERFILE, DEVCONTAINER["postCreateCommand"]):
        assert f"touch .venv/{ready}" in text
        assert "--no-deps --no-build-isolation --editable ." in text


def test_the_editor_s_container_is_the_image():
    assert (ROOT / ".devcontainer" / DEVCONTAINER["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (ROOT / ".devcontainer" / DEVCONTAINER["build"]["context"]).resolve() == ROOT


def test_github_runs_what_is_run_here():
    (job,) = yaml.safe_load(WORKFLOW)["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step][-1] == "bash .ci/run"
    assert (ROOT / ".ci/run").is_file()


def test_no_file_names_where_packages_come_from():
    names = ("Makefile", "Dockerfile", ".devcontainer/devcontainer.json", ".github/workflows/ci.yml", "docs/install.md")
    for name in names:
        assert not re.search(r"https?://(?!127\.0\.0\.1)", (ROOT / name).read_text("utf-8")), name


def test_no_line_ends_are_converted_by_git():
    lines = (ROOT / ".gitattributes").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["* -text"]
