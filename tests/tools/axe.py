"""axe-core, which finds what keeps people from using a page; npm fetches it once, and it is no part of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.tools.browser import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

VERSION = "4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    """The script, kept in `.state`, or that of `DEPS_AXE`; skips where it is not there and npm cannot fetch it."""
    if given := os.environ.get("DEPS_AXE"):
        return Path(given).read_text("utf-8")
    kept = ROOT / ".state" / f"axe-core-{VERSION}.js"
    if not kept.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("axe-core is not there: npm is not installed, and DEPS_AXE names no copy of axe.min.js")
        folder = tmp_path_factory.mktemp("axe")
        command = [npm, "pack", f"axe-core@{VERSION}", "--ignore-scripts", "--silent"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            pytest.skip("axe-core is not there: npm did not answer within two minutes")
        if done.returncode:
            pytest.skip(f"axe-core is not there: npm cannot fetch it ({done.stderr.strip()[:200]})")
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            archive.extract("package/axe.min.js", folder, filter="data")
        kept.parent.mkdir(exist_ok=True)
        shutil.copy(folder / "package/axe.min.js", kept)
    found = kept.read_bytes()
    assert sha256(found).hexdigest() == SHA256, f"{kept} is not axe-core {VERSION}; delete it"
    return found.decode()


def findings(page: Page, script: str) -> list[str]:
    """What axe-core finds on a page, as "<impact> <rule>: <first element>, <number of elements>"."""
    page.evaluate(script)
    found: list[dict[str, Any]] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{one['impact']} {one['id']}: {one['nodes'][0]['html'][:120]}, {len(one['nodes'])}" for one in found]
