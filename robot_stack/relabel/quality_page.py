"""The quality of a data set as one HTML page: where it has been, and a line for each episode."""

from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import numpy as np

from robot_stack.errors import DataError
from robot_stack.relabel.coverage import CELLS, CoverageMap
from robot_stack.replay import plots

if TYPE_CHECKING:
    from robot_stack.relabel.quality import Quality


def write_page(found: "Quality", title: str, page: Path) -> None:
    """Write it. Raises DataError when `page` cannot be written."""
    folders = [Path(__file__).parent, Path(plots.__file__).parent]
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folders), autoescape=True, trim_blocks=True)
    text = environment.get_template("quality.html.j2").render(title=title, found=found, map=drawn(found.covered))
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"page {page}: {error.strerror}; name a file that can be written to") from error


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
