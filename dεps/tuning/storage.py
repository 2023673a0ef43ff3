"""Where a study lives: an sqlite file on this machine, or a database that several machines share."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from dεps.errors import UserError

#: names the database where none is given; may hold a password, so it is no parameter and never printed as it is
VARIABLE = "DEPS_STUDY_STORAGE"
#: seconds between two heartbeats, and without one until another machine takes a trial over
HEARTBEAT, GRACE = 15, 60


def storage_url(given: str | None, state: Path) -> str:
    """The given database, or the environment's, or an sqlite file below `state`."""
    return given or os.environ.get(VARIABLE) or f"sqlite:///{state / 'study.db'}"


def masked(url: str) -> str:
    """The URL without its password. Raises `UserError` where it is none."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        raise UserError(f"{VARIABLE} or --storage is no database URL; expected postgresql://… or sqlite:///…") from None


def open_storage(url: str) -> RDBStorage:
    """Connect, and make the tables where there are none. Raises `UserError`, without the password."""
    shown, password = masked(url), make_url(url).password
    local = url.startswith("sqlite")
    if local and (file := make_url(url).database):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    patience = {"timeout": 60} if local else {"connect_timeout": 10}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # Several processes that make the tables at once would stand in each other's way.
            with FileLock(Path(tempfile.gettempdir()) / f"deps-study-{os.getuid()}.lock"):
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
        lines = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        reason = lines.replace(password, "***") if password else lines
        raise UserError(f"the study's storage {shown} cannot be used ({reason})") from None
