"""What `make` says where it cannot go on; nothing is installed here."""

import os
import shutil
import subprocess

from tests.conftest import ROOT


def test_a_tree_without_git_is_one_line_with_the_command_that_helps(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    environment["GIT_CEILING_DIRECTORIES"] = str(tmp_path.parent)
    # -o: the environment is taken to be there
    done = subprocess.run(
        ["make", "-o", ".venv/ready", "repro"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    error, made = done.stderr.splitlines()
    assert error.startswith("error: no git repository here, which DVC works in; run: git init && git add -A && ")
    assert made.startswith("make: *** ")
