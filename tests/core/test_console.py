import io

from dεps.core import console
from dεps.core.console import ProgressBar, clock, complain, progress, say, show_table, warn


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


def test_progress_is_a_line_now_and_then_and_later_one_a_minute(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    for _ in progress(range(30), "steps", 30):
        now += 8
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "steps: 3/30, 3:36 left",
        "steps: 6/30, 3:12 left",
        "steps: 14/30, 2:08 left",
        "steps: 22/30, 1:04 left",
        "steps: 30/30, 0:00 left",
    ]


def test_what_is_done_at_once_says_nothing(capsys):
    assert list(progress("abc", "spelling", 3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_clock():
    assert [clock(seconds) for seconds in (0.4, 59.6, 187, 3601)] == ["0:00", "1:00", "3:07", "1:00:01"]


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
