"""The address of the MLflow store, how it is shown, and how long the store may be silent. Imports nothing of MLflow."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit


def root() -> Path:
    """Return the main working copy; DVC's queue runs stages in copies of it, with DVC_ROOT set to the original."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, else the address of an sqlite file in the main working copy."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri()


def local_uri() -> str:
    """Return the address of the sqlite file in the main working copy."""
    path = str(root() / "mlflow.db")
    # These characters have a meaning in an address, so the folder's name must not appear in it.
    return f"sqlite:///{os.path.relpath(path) if set(path) & set('%?') else path}"


def patience(uri: str) -> float:
    """Return how many seconds a call to the store may take; a database's first call creates its tables."""
    return 9.0 if uri.startswith("http") else 60.0


def masked(text: str, uri: str) -> str:
    """Return `text`, which may quote `uri`, without user name and password."""
    if uri.startswith("sqlite:"):
        return text
    text = re.sub(r"://\S*@", "://***@", text)
    for secret in _secrets(uri):
        text = text.replace(secret, "***")
    return text


def reason(error: Exception, uri: str) -> str:
    """Return the first cause of an error of the store at `uri`, as one line for a warning."""
    text = " ".join(str(error).split())
    if "out-of-date database schema" in text:
        return f"an older MLflow made it; keep a copy of it, then run 'mlflow db upgrade {masked(uri, uri)}'"
    if "(Caused by " in text:  # urllib3's messages end so: … (Caused by Kind("what happened"))
        text = re.sub(r"^\w+\(['\"]|['\"]\)+$", "", text.rpartition("(Caused by ")[2])
    return masked(text or type(error).__name__, uri)[:200]


def _secrets(uri: str) -> set[str]:
    try:
        parts = urlsplit(uri)
        password = parts.password or ""
    except ValueError:
        return set()
    query = {value for key, value in parse_qsl(parts.query) if "pass" in key.lower()}
    return {password, unquote(password), *query} - {""}
