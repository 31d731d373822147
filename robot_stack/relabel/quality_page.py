"""The quality of a data set as one HTML page: where it has been, and a line for each episode."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robot_stack.relabel.coverage import CELLS, CoverageMap
from robot_stack.replay.page import template, write_html

if TYPE_CHECKING:
    from robot_stack.relabel.quality import Quality


def write_page(found: "Quality", title: str, page: Path) -> None:
    """Write it. Raises DataError when `page` cannot be written."""
    text = template("quality.html.j2", Path(__file__).parent).render(title=title, found=found, map=drawn(found.covered))
    write_html(page, text)


def drawn(covered: CoverageMap) -> str:
    """The map as SVG, the darker the more rows (on a logarithmic scale)."""
    most = np.log1p(covered.counts.max())
    cells = [
        f'<rect x="{x}" y="{CELLS - 1 - y}" width="1" height="1" fill-opacity="{np.log1p(count) / most:.2f}">'
        f"<title>{count:.0f} rows</title></rect>"
        for (y, x), count in np.ndenumerate(covered.counts)
        if count
    ]
    return f'<svg viewBox="0 0 {CELLS} {CELLS}" class="map" role="img" aria-label="coverage">{"".join(cells)}</svg>'
