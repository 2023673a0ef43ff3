"""Starts MLflow's UI on the store, and prints links to the comparison of methods (`deps ui`)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

from dεps.core.console import say
from dεps.core.errors import UserError
from dεps.core.params import read_params, selected
from dεps.data.manifest import prepared_folder
from dεps.tracking.address import masked, reason, tracking_uri
from dεps.tracking.notes import give_view
from dεps.tracking.private import EXPERIMENTS
from dεps.tracking.server import HOME
from dεps.tracking.store import FAILURES, Store
from dεps.tracking.views import charts_link, table_link


def serve(host: str, port: int) -> None:
    """Print the links, then become the server, unless the store is one. Raises `UserError` if the port is in use."""
    uri = tracking_uri()
    if uri.startswith("http"):
        print_links(_plain(uri), read_params(), uri)
        return
    _check_free(host, port)
    links = print_links(f"http://{f'[{host}]' if ':' in host else host}:{port}", read_params(), uri)
    _become_server(host, port, uri, next((link for _, link in links.values()), EXPERIMENTS))


def print_links(base: str, params: dict[str, Any], uri: str) -> dict[str, tuple[str, str]]:
    """Print where the selected experiments' methods are compared, and return what `comparison` does.

    `base` is the UI's address; a server of this project opens the first experiment's charts there. Raises `UserError`.
    """
    try:
        experiments = comparison(params, Store(uri))
    except FAILURES as error:
        raise UserError(f"MLflow at {masked(uri, uri)} cannot be used ({reason(error, uri)})") from None
    say(f"MLflow of {masked(uri, uri)}: {base}")
    for name, (table, charts) in experiments.items():
        say(f"  {name} in charts: {base}/{charts}")
        say(f"  {name} in a table: {base}/{table}")
    return experiments


def comparison(params: dict[str, Any], store: Store) -> dict[str, tuple[str, str]]:
    """Return links to a table and to charts of each selected experiment whose data is prepared.

    Experiments without results get their saved view here, so that trainings under way are in it.
    """
    links = {}
    for name in selected(params, "names"):
        if (prepared_folder(name) / "manifest.json").exists():
            experiment = give_view(store, params, name)
            links[name] = table_link(experiment), charts_link(experiment)
    return links


def _plain(uri: str) -> str:
    """Return a server's address without user name and password."""
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((host, port))
        except OSError as error:
            why = error.strerror or "no such address"
            raise UserError(f"{host}:{port} cannot be listened on ({why}); choose with --host and --port") from None


def _become_server(host: str, port: int, uri: str, home: str) -> NoReturn:
    """Start a process that follows trainings, and replace this one by MLflow's server; both end on Ctrl-C."""
    follower = [sys.executable, "-m", "dεps.tracking.follow", str(os.getpid())]
    subprocess.Popen(follower, stdin=subprocess.DEVNULL)
    # In the environment, because lists of processes must not show an address with a password.
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        HOME: home,
    }
    environment.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    sys.stdout.flush()
    command = [sys.executable, "-m", "dεps.tracking.server", "--host", host, "--port", str(port), "--workers", "1"]
    os.execve(sys.executable, command, environment)  # noqa: S606 - a list, without a shell
