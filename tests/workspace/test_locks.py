import os
import signal
import subprocess
import sys
import time

import pytest

from dεps.core.errors import UserError
from dεps.workspace.locks import attempt, exclusive, is_held, locked
from tests.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from dεps.workspace.locks import exclusive
with exclusive(Path(sys.argv[1]), "works"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_held_by_one(tmp_path):
    path = tmp_path / "new" / "a.lock"
    assert not is_held(path)
    assert not path.parent.exists()
    with locked(path):
        assert is_held(path)
        with attempt(path) as free:
            assert not free
    assert not is_held(path)
    with attempt(path) as free:
        assert free
        assert is_held(path)
    assert not is_held(path)


def test_whoever_is_faster_than_a_moment_is_in_nobodys_way(tmp_path):
    path = tmp_path / "a.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    with exclusive(path, "works"):  # free with its holder's end, though its number stayed
        assert path.with_suffix(".pid").read_text() == str(os.getpid())
    assert not path.with_suffix(".pid").exists()


def test_the_holder_is_named(tmp_path):
    path = tmp_path / "w0.65-0.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    started = time.monotonic()
    with pytest.raises(UserError, match=rf"^{path} is held: process {process.pid} works; wait for it or end it$"):
        exclusive(path, "works").__enter__()
    assert time.monotonic() - started < 3
    assert (tmp_path / "w0.65-0.pid").exists()
    process.kill()
    process.wait()


def test_an_error_frees_the_lock(tmp_path):
    for hold in (locked, attempt, lambda path: exclusive(path, "works")):
        with pytest.raises(ZeroDivisionError), hold(tmp_path / "a.lock"):
            raise ZeroDivisionError
        assert not is_held(tmp_path / "a.lock")
