"""HTML pages that hold everything they show: templates in one style, numbers as words, pictures as URLs."""

import base64
import json
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from robot_stack.errors import DataError

HERE = Path(__file__).parent


def template(name: str, folder: Path = HERE) -> jinja2.Template:
    """The page `name` of `folder`, with the filters `figure` and `percent`; what it is given is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figure, "percent": lambda share: f"{100 * share:.0f} %"}
    return environment.get_template(name)


def write_html(page: Path, text: str, figures: Any = None) -> Path:
    """Write `text` to `page`, and `figures`, where there are any, beside it as .json. Raises DataError when that is refused."""
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
        if figures is not None:
            page.with_suffix(".json").write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"page {page}: {error.strerror}; name a folder that can be written to") from error
    return page


def figure(value: Any) -> str:
    """A number in a few digits; words as they are; nothing as a dash."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,d}" if isinstance(value, int) else f"{value:.3g}"


def data_url(data: bytes) -> str:
    """The picture itself as a URL: a PNG, else a JPEG."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
