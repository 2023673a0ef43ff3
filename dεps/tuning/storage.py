"""Where a study lives: an sqlite file on this machine, or a database that several machines share."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from dεps.core.errors import UserError
from dεps.workspace.locks import locked

#: names the database where none is given; may hold a password, so it is no parameter and never printed as it is
VARIABLE = "DEPS_STUDY_STORAGE"
#: seconds between two heartbeats, and without one until another machine takes a trial over
HEARTBEAT, GRACE = 15, 60
#: what Optuna says of a study or trial that the database does not hold
_NO_RECORD = "Record does not exist"
#: the cure of a file that is
DAMAGED = "put a copy of it back, or remove it: the same command then begins the study again"


def storage_url(given: str | None, state: Path) -> str:
    """Return the given database, else the environment's, else an sqlite file below `state`."""
    return given or os.environ.get(VARIABLE) or f"sqlite:///{state / 'study.db'}"


def masked(url: str) -> str:
    """Return the URL without its password. Raises `UserError` if it is no database URL."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        raise UserError(f"{VARIABLE} or --storage is no database URL; expected postgresql://… or sqlite:///…") from None


def open_storage(url: str) -> RDBStorage:
    """Connect, creating tables if there are none. Raises `UserError`, which does not show the password."""
    shown, password = masked(url), make_url(url).password
    local, file = url.startswith("sqlite"), make_url(url).database
    if local and file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    patience = {"timeout": 60} if local else {"connect_timeout": 10}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # Several processes that make the tables at once would stand in each other's way.
            with locked(Path(tempfile.gettempdir()) / f"deps-study-{os.getuid()}.lock"):
                return RDBStorage(
                    url,
                    engine_kwargs={"connect_args": patience},
                    heartbeat_interval=HEARTBEAT,
                    grace_period=GRACE,
                    heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
                )
    except ImportError:
        driver = "; PostgreSQL needs the package psycopg[binary]" if url.startswith("postgresql") else ""
        raise UserError(f"the study's storage {shown} cannot be used: its driver is not installed{driver}") from None
    except (SQLAlchemyError, OSError, ValueError, RuntimeError, optuna.exceptions.OptunaError) as error:
        # A file that is there and no study's: a directory, or a path that leads nowhere, is for the user to look at.
        cure = f"; {DAMAGED}" if local and file and Path(file).is_file() else ""
        raise UserError(f"the study's storage {shown} cannot be used ({_reason(error, password)}){cure}") from None


@contextmanager
def watched(url: str) -> Iterator[None]:
    """Run a block that uses an open study. Raises `UserError` if its database vanishes or is damaged meanwhile."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, json.JSONDecodeError, KeyError) as error:
        if isinstance(error, KeyError) and not isinstance(error, SQLAlchemyError) and _NO_RECORD not in str(error):
            raise
        shown, password = masked(url), make_url(url).password
        cure = DAMAGED if url.startswith("sqlite") else "the same command goes on when it is there again"
        reason = _reason(error, password)
        raise UserError(f"the study's storage {shown} has vanished or is damaged ({reason}); {cure}") from None


def _reason(error: BaseException, password: str | None) -> str:
    """Return the database's own message, without the password."""
    while error.__cause__ is not None:  # Optuna wraps them
        error = error.__cause__
    lines = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
    return lines.replace(password, "***") if password else lines
