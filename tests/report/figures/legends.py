"""What a figure says in words."""

from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.lines import Line2D


def texts(legend: Legend | None) -> list[str]:
    """The entries of a legend."""
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def line(axes: Axes, name: str) -> Line2D:
    """The line of this name."""
    return next(line for line in axes.lines if line.get_label() == name)
