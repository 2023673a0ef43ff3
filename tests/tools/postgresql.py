"""A PostgreSQL server of the tests' own."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def _program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else shutil.which(name)


@pytest.fixture(scope="session")
def postgresql():
    """URL of an empty database; the server is started here and ends with the tests."""
    pytest.importorskip("psycopg", reason="psycopg, the driver of PostgreSQL, is not installed")
    initdb, server = _program("initdb"), _program("postgres")
    if not initdb or not server:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    user = None
    if os.getuid() == 0:  # which initdb refuses
        try:
            user = pwd.getpwnam("postgres").pw_uid
        except KeyError:
            pytest.skip("PostgreSQL does not start as root, and there is no user postgres")
    # Not in pytest's folder, which is closed to other users.
    with tempfile.TemporaryDirectory(prefix="postgresql-") as root:
        if user is not None:
            os.chown(root, user, -1)
        yield from _serve(initdb, server, Path(root), user)


def _serve(initdb: str, server: str, root: Path, user: int | None) -> Iterator[str]:
    data = root / "data"
    arguments = ["-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"]
    made = subprocess.run([initdb, *arguments], user=user, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [server, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
    with (root / "log").open("w") as log:
        process = subprocess.Popen(command, user=user, stdout=log, stderr=log)
    try:
        import psycopg

        url = f"postgresql://postgres:geheim@127.0.0.1:{port}/postgres"
        for _ in range(100):
            try:
                psycopg.connect(url).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.2)
        else:
            pytest.fail(f"PostgreSQL does not answer: {(root / 'log').read_text()}")
        yield url
    finally:
        process.send_signal(signal.SIGINT)  # SIGTERM would wait for clients that still are connected
        process.wait(timeout=60)
