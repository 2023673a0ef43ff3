"""The command and the stages under locales that are not UTF-8."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

DEPS = ["-m", "deps"]
STAGE = ["-m", "pipelines.prepare"]
ASCII = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}


def call(arguments: list[str], **environment: str) -> tuple[int, bytes, bytes]:
    """Exit code, output, errors of Python called in the project's folder."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    kept |= {"PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=kept, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [[*DEPS, "show"], [*STAGE, "--experiment", "quick"]])
def test_a_locale_whose_files_names_are_ascii_is_named_with_its_cure(command):
    code, out, error = call(command, **ASCII)
    assert (code, out) == (2, b"")
    assert error == (
        b"error: this locale has files' names in ascii, expected UTF-8; "
        b"export PYTHONUTF8=1, or a locale such as LC_ALL=C.UTF-8\n"
    )
    assert call([*DEPS, "--help"], **ASCII | {"PYTHONUTF8": "1"})[0] == 0


@pytest.mark.slow
def test_what_an_output_cannot_show_is_escaped():
    code, out, error = call([*DEPS, "evaluate", "ε-→é.safetensors"], PYTHONIOENCODING="latin-1")
    assert (code, out) == (2, b"")
    assert error.startswith(b"error: \\u03b5-\\u2192\xe9.safetensors")
    assert error.count(b"\n") == 1
    code, out, _ = call([*DEPS, "plan", "--steps", "0"], PYTHONIOENCODING="ascii")
    assert code == 0
    assert b"\\xd7 D\\u03b5pS" in out


@pytest.mark.slow
def test_a_locale_of_plain_c_works():
    code, out, _ = call([*DEPS, "plan", "--steps", "0"], LC_ALL="C")
    assert code == 0
    assert "× DεpS" in out.decode()
