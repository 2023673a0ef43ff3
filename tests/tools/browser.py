"""Headless Chromium for tests of pages, and where their screenshots are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
#: names under which distributions install it
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: viewport of a desktop window and of a phone
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def screenshots() -> Path:
    """The folder for screenshots: `DEPS_SCREENSHOTS`, or `.state/screenshots`."""
    folder = Path(os.environ.get("DEPS_SCREENSHOTS") or ROOT / ".state" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# Not for the whole session: while Playwright is open, no other test of this process can run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium; skips where it or Playwright is not installed."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (pip install playwright)")
    program = os.environ.get("DEPS_CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    with api.sync_playwright() as playwright:
        if program is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("Chromium is not installed (apt-get install chromium, or playwright install chromium)")
        # Its sandbox needs rights that containers and root do not give; the pages here are the project's own.
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()


@dataclass
class Visit:
    """A page and what happened on it."""

    page: Page
    #: console messages of kind error, and exceptions that no script caught
    errors: list[str] = field(default_factory=list)
    #: addresses of all requests
    requests: list[str] = field(default_factory=list)
    #: "<status> <address>" of answers from 400, and requests that failed
    failures: list[str] = field(default_factory=list)


@contextmanager
def visit(browser: Browser, address: str, viewport: dict[str, int] | None = None, **options: Any) -> Iterator[Visit]:
    """Open an address in a fresh context and record what happens; `options` are Playwright's of a context."""
    context = browser.new_context(viewport=viewport or DESKTOP, **options)
    try:
        there = Visit(context.new_page())
        page = there.page
        page.on("console", lambda message: there.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: there.errors.append(str(error)))
        page.on("request", lambda request: there.requests.append(request.url))
        page.on("requestfailed", lambda request: there.failures.append(f"{request.failure} {request.url}"))
        page.on("response", lambda r: there.failures.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.goto(address)
        yield there
    finally:
        context.close()
