"""Tables in Markdown files, generated between two lines that stay.

<!-- results: cifar10_small deps ofa -->      the table of a published experiment, of these methods
<!-- end of results -->
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dεps.core.errors import UserError, check_choice
from dεps.core.files import write_atomic
from dεps.report.publishing.results import PublishedResults, results_of
from dεps.report.tables import caption, markdown, summary

BEGIN, END = "<!-- results: EXPERIMENT METHODS -->", "<!-- end of results -->"
_LINE = r"<!-- results: ([^\n]*) -->\n"
#: a block ends before the next begins, so that one without its end doesn't swallow what follows
_BLOCK = re.compile(rf"^({_LINE})(?:(?!{_LINE}).)*?^({re.escape(END)})$", re.MULTILINE | re.DOTALL)


def read_text(path: Path, line: str) -> str:
    """The text of a file that should have a `line`. Raises `UserError` where it cannot be read."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected a file with the line {line}") from None


def between(text: str, begin: str, end: str, new: str) -> str | None:
    """The text with `new` between two of its lines; None where it has not both."""
    before, first, rest = text.partition(f"{begin}\n")
    _, last, after = rest.partition(f"{end}\n")
    return before + first + new + last + after if first and last else None


def write_results(path: Path, published: Sequence[PublishedResults]) -> None:
    """Replace what stands between the lines BEGIN and END of a Markdown file, which may have several, by tables.

    A table is over the seeds that have all of its methods. Raises `UserError` where the file has no such lines, or
    where these name what is not published.
    """
    text = read_text(path, BEGIN)
    blocks, begun = len(_BLOCK.findall(text)), len(re.findall(rf"^{_LINE}", text, re.MULTILINE))
    if not blocks or blocks != begun:
        raise UserError(f"{path} has not the lines {BEGIN} and {END}; expected a table's place between them")

    def table(match: re.Match[str]) -> str:
        own = _narrowed(match[2].split(), published, path)
        return f"{match[1]}{markdown(summary(own), caption(own))}{match[4]}"

    write_atomic(path, _BLOCK.sub(table, text))


def _narrowed(words: Sequence[str], published: Sequence[PublishedResults], path: Path) -> PublishedResults:
    """The results that a line names: an experiment, and methods of it in the order of rows."""
    named = {one.experiment: one for one in published}
    if not words[1:]:
        raise UserError(f"{path}: '<!-- results: {' '.join(words)} -->' names no methods; expected {BEGIN}")
    check_choice(words[0], list(named), f"{path}: experiment")
    all_ = named[words[0]]
    for method in words[1:]:
        check_choice(method, all_.every.methods, f"{path}: method")
    seeds = [one for one in all_.published if set(words[1:]) <= set(one.methods)]
    found = results_of(seeds, all_.folders)
    if found is None:
        raise UserError(f"{path}: no seed of {words[0]} has all of {', '.join(words[1:])}")
    return replace(found, methods=list(words[1:]), partial=(), lacking=())
