"""MLflow's server with a front page of this project's: it opens the comparison, and MLflow's greetings stay closed.

`python -m dεps.tracking.server` takes the options of `mlflow ui`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dεps.tracking.private import GREETINGS, run_ui

if TYPE_CHECKING:
    from fastapi import FastAPI

#: environment variable with the link that the bare address leads to, relative to it
HOME = "DEPS_UI_HOME"
_SCRIPT = """<script>
try {
  for (const [key, value] of Object.entries(%s)) localStorage.getItem(key) ?? localStorage.setItem(key, value);
} catch {}
if (location.hash.length < 3 && %s) location.replace(%s);
</script>"""


def front_page(page: str, home: str) -> str:
    """Return MLflow's `page` with a script that closes its greetings once, and leads to `home` if no link is given."""
    greetings, link = (json.dumps(value).replace("<", "\\u003c") for value in (GREETINGS, home))
    return page.replace("<head>", f"<head>{_SCRIPT % (greetings, link, link)}", 1)


def app() -> FastAPI:
    """Return MLflow's application, with the front page in the place of its own."""
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app as whole
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    page = front_page(Path(str(pages.static_folder), "index.html").read_text("utf-8"), os.environ.get(HOME, ""))
    whole.router.routes.insert(0, Route("/", lambda _: HTMLResponse(page)))  # the first that matches is taken
    return whole


if __name__ == "__main__":
    run_ui(f"{__spec__.name}:{app.__name__}")
