"""Where the MLflow store is, how long it may be silent, and how its address is shown, which may hold a password.

Nothing of MLflow is imported here: a training reads this.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit


def root() -> Path:
    """The main workspace: DVC's experiment queue runs stages in copies and names the original in DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or else an sqlite file in the main workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri()


def local_uri() -> str:
    """Of the sqlite file in the main workspace."""
    path = str(root() / "mlflow.db")
    # In an address these have a meaning: nothing of a folder so named may stand in it.
    return f"sqlite:///{os.path.relpath(path) if set(path) & set('%?') else path}"


def patience(uri: str) -> float:
    """Seconds that a store may keep someone waiting.

    A database that is opened directly makes its tables first, which must not be cut short.
    """
    return 9.0 if uri.startswith("http") else 60.0


def masked(text: str, uri: str) -> str:
    """`text`, which may quote `uri`, without user name and password."""
    if uri.startswith("sqlite:"):
        return text
    text = re.sub(r"://\S*@", "://***@", text)
    for secret in _secrets(uri):
        text = text.replace(secret, "***")
    return text


def reason(error: Exception, uri: str) -> str:
    """What a warning says of an error of the store at `uri`: its first cause, in one line."""
    text = " ".join(str(error).split())
    if "out-of-date database schema" in text:
        return f"an older MLflow made it; keep a copy of it, then run 'mlflow db upgrade {masked(uri, uri)}'"
    if "(Caused by " in text:  # as urllib3 ends its messages: … (Caused by Kind("what happened"))
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
