"""Writes an exploration: PNGs, and one self-contained HTML page."""

from __future__ import annotations

from base64 import b64encode
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from mtlface import __version__
from mtlface.analysis.exploration_figures import figures
from mtlface.analysis.exploration_samples import samples
from mtlface.analysis.exploration_tables import label_table, omitted_table, split_table
from mtlface.atomic import atomic_write, write_text
from mtlface.data.table import FaceTable
from mtlface.plots.panels import sheet
from mtlface.plots.raster import pixels_png
from mtlface.plots.style import save

DEMO = (
    "RENDERED DEMO FACES: these pictures were drawn by a computer, and so were their labels. What "
    "they correlate with says nothing about real faces."
)


def write_exploration(
    table: FaceTable, name: str, root_kind: str, folder: Path, pictures: int, seed: int
) -> Path:
    """Draws everything into a folder and returns the page, `index.html`.

    Args:
        table: The pictures with their labels.
        name: What the data set is called.
        root_kind: `folder`, `kaggle` or `demo`.
        folder: Where to.
        pictures: How many sample pictures.
        seed: Chooses them.

    Raises:
        OSError: The folder cannot be written.
    """
    drawn = []
    for shown in figures(table):
        svg = save(shown.figure, folder / shown.name)
        (folder / f"{shown.name}.svg").unlink()  # the page holds it
        drawn.append((shown.name, shown.caption, b64encode(svg.encode()).decode()))
    found = samples(table, pictures, seed)
    content = b""
    if found:
        content = pixels_png(sheet(found, f"{name}: {len(found)} pictures", columns=4))
        with atomic_write(folder / "samples.png") as file:
            file.write(content)
    source = files("mtlface.analysis").joinpath("templates/explore.html").read_text("utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    page = folder / "index.html"
    write_text(
        page,
        template.render(
            title=f"What is in {name}",
            lead=f"{len(table):,} pictures from {table.root}",
            demo=DEMO if root_kind == "demo" else "",
            tables=[split_table(table), label_table(table)],
            sheet=b64encode(content).decode(),
            figures=drawn,
            omitted=omitted_table(table),
            count=f"{len(table.omitted):,}",
            version=__version__,
        ),
    )
    return page
