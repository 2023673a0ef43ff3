"""README, CONTRIBUTING and docs/: every link, anchor, command, override and YAML block in them holds."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import click
import pytest
import yaml
from dvc.cli import parse_args

from dεps.cli.main import main
from dεps.core.files import write_json
from dεps.planning.check import composed
from dεps.planning.claims import training_cost
from dεps.report.blocks import write_results
from dεps.report.claims import BEGIN, END, claims, rows, write_between
from dεps.report.publishing.results import published_results
from tests.conftest import ROOT, load_space
from tests.test_house import FLOORS
from tests.tools.latency import latency_table

PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: programs that are not ours, whose arguments are not checked here
OTHERS = {
    "git",
    "pip",
    "curl",
    "docker",
    "mlflow",
    "export",
    ".",
    "eval",
    "createdb",
    "optuna-dashboard",
    "mkdir",
    "cd",
    "open",
    "torchrun",
}
#: an override, or an argument of a command, in which the reader has to put something
OPEN = re.compile(r"…|<\w+>|\b[A-Z]{3,}\b")
#: a value for what a preset leaves open
GIVEN = dict.fromkeys(("cifar10_cpu", "imagenet100_cpu", "cifar10_small", "imagenet100_small"), "x.zip")


def text(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", text(page))


def anchors(page: str) -> set[str]:
    """Of each heading, as GitHub forms them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def console(page: str) -> list[str]:
    """What is typed in console blocks, continued lines put together, one command an entry."""
    blocks = [body for language, body in FENCE.findall(text(page)) if language in ("console", "sh", "bash")]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [part for line in lines if line.startswith("$ ") for part in commands(line[2:])]


def commands(line: str) -> list[str]:
    """The commands of a line: what `&&` joins, without comments."""
    lexer = shlex.shlex(line, posix=False, punctuation_chars="&")
    lexer.whitespace_split, lexer.commenters = True, ""
    parts: list[list[str]] = [[]]
    for word in lexer:
        if word == "#":
            break
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return [" ".join(part) for part in parts]


def inline(page: str) -> list[str]:
    """Commands of ours in backticks."""
    spans = re.findall(r"`([^`]+)`", prose(page))
    return [part for span in spans if re.match(r"(deps|dvc|make) ", span) for part in commands(span)]


#: what is typed, whole; and what is mentioned, which may be the beginning of a command
TYPED = sorted({(page, command) for page in PAGES for command in console(page)})
MENTIONED = sorted({(page, command) for page in PAGES for command in inline(page)} - set(TYPED))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the groups of params, those that pages add included."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    for page in PAGES:
        for name, body in re.findall(r"`(params/[\w/]+\.yaml)`[^`]*?\n\n```yaml\n(.*?)^```", text(page), re.M | re.S):
            (tmp_path / name).write_text(body)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_deps(words: list[str], whole: bool) -> None:
    """The command exists, takes these options, and has what it requires, if `whole`."""
    if words[0] in ("x", "--help"):
        return
    command = main.get_command(click.Context(main), words[0])
    assert command is not None, f"there is no command {words[0]}"
    if not whole and words[-1].startswith("--"):
        words = [*words, "1"]
    values, _, _ = command.make_parser(click.Context(command)).parse_args(words[1:])
    for parameter in command.params if whole else ():
        if parameter.required and not any(OPEN.search(word) for word in words):
            assert values.get(parameter.name) not in (None, ()), f"{words[0]} needs {parameter.name}"


def check_overrides(words: list[str], project: Path) -> None:
    """They compose into params that pass all checks."""
    overrides = [word for word in words if not word.startswith("-") and "=" in word]
    if any(OPEN.search(word) for word in overrides):
        return
    for word in overrides:
        if word.startswith("+from="):
            Path(word.removeprefix("+from=")).parent.mkdir(parents=True, exist_ok=True)
            Path(word.removeprefix("+from=")).write_text("seeds: [0]\n")
        if ".search.latency=" in word:
            write_json(Path(word.partition("=")[2]), vars(latency_table(load_space("resnet_28"))))
    names = re.findall("|".join(GIVEN), " ".join(overrides))
    given = [f"experiments.{name}.dataset.root={GIVEN[name]}" for name in dict.fromkeys(names)]
    composed([*given, *overrides], project / "params")


@pytest.mark.parametrize(("page", "command"), TYPED, ids=[f"{page}: {command}" for page, command in TYPED])
def test_every_typed_command_is_understood(page, command, project):
    check(page, command, project, whole=True)


@pytest.mark.parametrize(("page", "command"), MENTIONED, ids=[f"{page}: {command}" for page, command in MENTIONED])
def test_every_mentioned_command_is_understood(page, command, project):
    check(page, command, project, whole=False)


def check(page: str, command: str, project: Path, whole: bool) -> None:
    program, *words = shlex.split(command)
    program = Path(program).name if "/" in program else program
    composes = page != "CONTRIBUTING.md"  # whose examples need code; tests/test_contributing.py runs them
    if program == "deps":
        check_deps(words, whole)
        if words[0] in ("params", "plan") and composes:
            check_overrides(words[1:], project)
    elif program == "dvc":
        if not any(OPEN.search(word) for word in words) and not words[-1].startswith("-"):
            chosen = parse_args(words)
            if words[:2] == ["exp", "run"]:
                check_overrides(chosen.set_param or [], project)
            targets = {target.split("@")[0] for target in getattr(chosen, "targets", None) or []}
            assert targets <= set(yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"])
    elif program == "make":
        target, *variables = words
        makefile = (ROOT / "Makefile").read_text("utf-8")
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"make has no {target}"
        assert all(re.search(rf"^{name.split('=')[0]} \?=", makefile, re.MULTILINE) for name in variables)
    else:
        assert program in OTHERS or "=" in program, f"{program} is new here"


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match("https?:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in anchors(str(path.resolve().relative_to(ROOT))), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_tables_have_as_many_cells_in_each_row(page):
    for table in re.findall(r"(?:^\|.*\n)+", prose(page), re.MULTILINE):
        widths = {len(re.sub(r"`[^`]*`", "", line).strip().strip("|").split("|")) for line in table.splitlines()}
        assert len(widths) == 1, table


@pytest.mark.parametrize("page", PAGES)
def test_blocks_of_yaml_and_python_can_be_read(page):
    for language, body in FENCE.findall(text(page)):
        if language == "yaml":
            assert yaml.safe_load(body)
        if language == "python":
            ast.parse(body)


def readme_program() -> str:
    return re.findall(r"^## A subnet in ten lines of Python\n\n```python\n(.*?)^```", text("README.md"), re.M | re.S)[0]


def test_the_readme_cuts_a_subnet_in_about_ten_lines():
    lines = [line for line in readme_program().splitlines() if line]
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100


@pytest.mark.slow
def test_the_program_of_the_readme_writes_a_subnet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(readme_program(), "README.md", "exec"), names)
    records = names["trainer"].history
    assert [record["phase"] for record in records] == ["full model", "full model", "shrinking", "shrinking"]
    assert records[1]["val/smallest_top1"] < 40 < 60 < records[-1]["val/smallest_top1"]
    assert records[-1]["val/largest_top1"] > 70
    assert (tmp_path / "small.onnx").stat().st_size > 10_000


def test_what_the_readme_says_of_python_and_the_licence_is_what_pyproject_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    badges = dict(re.findall(r"\[!\[([^]]+)\]\(docs/pictures/badges/(\w+)\.svg\)\]\([^)]+\)", text("README.md")))
    python, licence = f"≥ {project['requires-python'].removeprefix('>=')}", project["license"]
    said = {f"Python {python}": "python", f"{licence} licence": "licence", "tested on Linux": "platform"}
    assert badges == said | {"DεpS, ECCV 2024": "paper"}
    for name, words in (("python", ["Python", python]), ("licence", ["licence", licence])):
        drawn = ElementTree.parse(ROOT / f"docs/pictures/badges/{name}.svg").getroot()
        assert [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")] == words


def test_the_readme_s_first_sentence_names_the_methods():
    first = re.sub(r"\s+", " ", text("README.md").removeprefix("# dεps\n\n")).split(". ")[0]
    assert all(method in first for method in ("DεpS", "OFA", "CompOFA", "BigNAS", "RSS"))


def test_the_readme_is_short_and_leads_to_every_page():
    readme = text("README.md")
    assert len(readme.splitlines()) <= 200
    assert readme.index("![") < readme.index("## Quick start")
    assert {page for page in PAGES if page.startswith("docs/")} <= set(re.findall(r"\((docs/\w+\.md)", readme))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_tree_has_every_room_from_the_ground_up(page):
    assert tuple(re.findall(r"^[├└]── (\w+)/", text(page), re.MULTILINE)) == FLOORS


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_four_rules_are_there(page):
    flat = re.sub(r"[\s>]+", " ", text(page))
    for rule in ("pipelines/x.py", "dεps/cli/x.py", "dεps/methods/x.py", "dεps/nets/x/"):
        assert f"`{rule}`" in flat
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    assert {path.stem for path in (ROOT / "pipelines").glob("[!_]*.py")} == set(stages)


def test_the_readme_begins_with_a_published_experiment_as_soon_as_there_is_one():
    drawn = {path.parent.name for path in (ROOT / "reports/figures").glob("*/pareto.png")}
    (first, *_) = re.findall(r"!\[[^]]*\]\(reports/(\w+)/(\w+)/pareto\.png\)", text("README.md"))
    assert not drawn or (first[0] == "figures" and first[1] in drawn)


def test_the_claims_in_the_readme_are_what_the_published_results_say(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "README.md"
    path.write_text(text("README.md"), "utf-8")
    write_between(path, rows(published_results(), training_cost))  # as 'deps show claims --into README.md'
    assert path.read_text("utf-8") == text("README.md")


@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- results: " in text(page)])
def test_tables_of_results_in_a_page_are_those_published(page, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "page.md"
    path.write_text(text(page), "utf-8")
    write_results(path, published_results())  # as 'deps show results --into' the page
    assert path.read_text("utf-8") == text(page)


def test_the_table_of_claims_has_every_claim_in_its_order():
    table = text("README.md").partition(f"{BEGIN}\n")[2].partition(f"{END}\n")[0]
    sentences = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")][2:]
    assert list(dict.fromkeys(sentences)) == [claim.sentence for claim in claims().values()]
