import os
import sqlite3
import subprocess
import sys

import pytest

from dεps.tracking.address import masked, patience, reason
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:geheim@host:5000", "http://***@host:5000"),
        ("https://geheim@host/path", "https://***@host/path"),
        ("postgresql://me:ge%23heim@host/db", "postgresql://***@host/db"),
        ("postgresql://host/db?user=me&password=geheim", "postgresql://host/db?user=me&password=***"),
        ("http://me:ge/heim@host", "http://***@host"),
        ("http://[me:geheim@host", "http://***@host"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////data/me@work/mlflow.db", "sqlite:////data/me@work/mlflow.db"),
    ],
)
def test_an_address_is_shown_without_its_password(uri, shown):
    assert masked(uri, uri) == shown
    assert masked(f"no answer from {uri} today", uri) == f"no answer from {shown} today"


def test_a_password_is_masked_wherever_it_is_quoted():
    uri = "postgresql://me:ge%23heim@host/db"
    assert masked("ge#heim was refused, so was ge%23heim", uri) == "*** was refused, so was ***"


def test_the_reason_is_the_first_cause():
    text = (
        "API request to http://me:geheim@h:1/x failed with exception HTTPConnectionPool(host='h', port=1): Max retries "
        "exceeded with url: /x (Caused by ReadTimeoutError(\"HTTPConnectionPool(host='h', port=1): Read timed out. "
        '(read timeout=4)"))'
    )
    uri = "http://me:geheim@h:1"
    assert reason(OSError(text), uri) == "HTTPConnectionPool(host='h', port=1): Read timed out. (read timeout=4)"
    assert reason(OSError("failed at http://me:geheim@h:1\nfor long"), uri) == "failed at http://***@h:1 for long"
    assert reason(OSError(), uri) == "OSError"


def test_tables_of_a_database_have_time_to_be_made():
    assert patience("http://host") < 10 < patience("sqlite:///mlflow.db") == patience("postgresql://host/db")


def test_a_store_of_an_older_mlflow_is_met_with_the_command_that_upgrades_it(tmp_path, monkeypatch):
    from dεps.tracking.store import Store

    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    Store(uri)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'acf3f17fdcc7'")
    command = [sys.executable, "-c", f"from dεps.tracking.store import Store; Store({uri!r})"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert reason(Exception(done.stderr), uri) == (
        f"an older MLflow made it; keep a copy of it, then run 'mlflow db upgrade {uri}'"
    )
