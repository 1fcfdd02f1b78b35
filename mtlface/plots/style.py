"""How every figure looks: colours that colour-blind readers tell apart, large plain text."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mtlface.atomic import atomic_write

# Okabe & Ito (2008), "Color Universal Design"; yellow comes last because it is faint on white.
OKABE_ITO = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#F0E442",
)
GREY = "#6B6B6B"
BARS = "#B9D3E6"
BETTER, WORSE, EQUAL, UNDECIDED = OKABE_ITO[0], OKABE_ITO[1], OKABE_ITO[2], GREY
MARKERS = "osD^vPX*"
LINES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.2, 1.5)))

# What figures are saved as, without the time, so that the same numbers give the same bytes.
FORMATS: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "png": {},
    "pdf": {"CreationDate": None, "Producer": None},
}
WIDTH = 5.6  # inches: on a phone the text is still as large as the text around it

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8A8A8A",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,  # names come from users; a dollar sign is a dollar sign
    "svg.fonttype": "path",  # the reader need not have the font
    "svg.hashsalt": "mtlface",  # the same numbers give the same bytes
}


@contextmanager
def style() -> Iterator[None]:
    """Draws what is made inside the block in the house style."""
    with mpl.rc_context(_RC):
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Returns an empty figure; sizes in inches. It belongs to no window and needs no closing."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def headline(figure: Figure, text: str) -> None:
    """Writes the figure's title, bold, from its left edge on."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=11.5, fontweight="bold")


def colour(index: int) -> str:
    """The n-th colour; it repeats after eight, which is why markers and dashes change as well."""
    return OKABE_ITO[index % len(OKABE_ITO)]


def marker(index: int) -> str:
    """The n-th marker."""
    return MARKERS[index % len(MARKERS)]


def dashes(index: int) -> Any:
    """The n-th line style; neighbours differ, so that lines are told apart without colour."""
    return LINES[index % len(LINES)]


def save(figure: Figure, stem: Path) -> str:
    """Writes `<stem>.svg`, `.pdf` and `.png` (200 dpi) and returns the SVG as text."""
    drawn = {}
    with style():
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # laid out once, not again for each format
        for kind, metadata in FORMATS.items():
            buffer = BytesIO()
            figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
            drawn[kind] = buffer.getvalue()
    for kind, content in drawn.items():
        with atomic_write(stem.with_name(f"{stem.name}.{kind}")) as file:
            file.write(content)
    return drawn["svg"].decode()
