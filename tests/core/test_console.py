import io

import pytest

from dεps.core import console
from dεps.core.console import ProgressBar, complain, progress, say, show_table, warn


def test_what_goes_where(capsys):
    say("a result, of odd characters \x1b")
    warn("first\nsecond")
    complain("error: ε")
    assert capsys.readouterr() == ("a result, of odd characters \x1b\n", "warning: first\\nsecond\nerror: ε\n")


def test_a_table_has_the_width_of_a_page_where_there_is_no_terminal(capsys):
    columns = {"arch": {"overflow": "fold"}, "top-1 (%)": {"justify": "right", "no_wrap": True}}
    show_table([("k3" * 80, "81.25")], columns, "title", "a note " * 30)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].rstrip() == "title"
    assert max(map(len, lines)) == console.WIDTH
    assert any(line.endswith("    81.25 │") for line in lines)
    assert lines[-1].rstrip().endswith("a note")


@pytest.mark.parametrize(("every", "lines"), [(0.0, 3), (99.0, 0)])
def test_progress_is_a_line_now_and_then(capsys, monkeypatch, every, lines):
    monkeypatch.setattr(console, "LINE_EVERY", every)
    assert list(progress("abc", "spelling", 3)) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(",")[0] for line in err.splitlines()] == [f"spelling: {n}/3" for n in (1, 2, 3)][:lines]


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(console.sys, "stderr", terminal)
    with ProgressBar("training", 4, done=1) as bar:
        bar.advance(2)
        bar.note("epoch 1")
    assert "training" in terminal.getvalue()
    assert "3/4" in terminal.getvalue()
    assert "epoch 1" in terminal.getvalue()
