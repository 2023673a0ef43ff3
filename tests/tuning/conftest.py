"""A PostgreSQL server of the tests' own."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest


def _program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else shutil.which(name)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    """URL of an empty database; the server is started here and ends with the tests."""
    pytest.importorskip("psycopg", reason="psycopg, the driver of PostgreSQL, is not installed")
    initdb, server = _program("initdb"), _program("postgres")
    if not initdb or not server:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    root = tmp_path_factory.mktemp("postgresql")
    data, user = root / "data", None
    data.mkdir()
    if os.getuid() == 0:  # which initdb refuses
        try:
            user = pwd.getpwnam("postgres").pw_uid
        except KeyError:
            pytest.skip("PostgreSQL does not start as root, and there is no user postgres")
        for folder in (data, root):
            os.chown(folder, user, -1)
        for folder in [root, *root.parents]:
            if folder.stat().st_uid == os.getuid() and str(folder).startswith(str(tmp_path_factory.getbasetemp())):
                folder.chmod(folder.stat().st_mode | 0o011)
        base = tmp_path_factory.getbasetemp()
        for folder in (base, base.parent):
            folder.chmod(folder.stat().st_mode | 0o011)
    arguments = ["-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"]
    made = subprocess.run(
        [initdb, *arguments],
        user=user,
        capture_output=True,
        text=True,
    )
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
        process.terminate()
        process.wait()
