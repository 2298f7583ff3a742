"""From a template and its data to one HTML file that needs nothing else.

Templates escape every value they are given. Only what ships with this package or with plotly is put in as it is.
"""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trademl_pipeline.reports.elements import grid, leading_word
from trademl_pipeline.reports.figure import Figure

_PACKAGE = "trademl_pipeline.reports.pages"


def render_page(template: str, title: str, figures: Iterable[Figure], /, **values: Any) -> str:
    """Return a page with style, script, plotly.js and the data of its figures inside.

    Args:
        template: name of a file in `templates/` that extends `base.html.j2`.
        title: of the document, plain text.
        figures: those whose places are in the template.
        values: what else the template asks for; every text is plain and is escaped.

    Raises:
        ValueError: if a figure holds NaN or an infinity, which JSON does not know.
        jinja2.UndefinedError: if the template asks for a value that was not given.
    """
    from plotly.offline import get_plotlyjs

    specs = {figure.id: figure.spec() for figure in figures}
    page = _environment().get_template(template)
    return page.render(title=title, specs=specs, plotly=Markup(get_plotlyjs()), **values)


def static_text(name: str) -> str:
    """Return the text of a file in `static/`.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    return files(_PACKAGE).joinpath("static", name).read_text(encoding="utf-8")


def _inline(name: str) -> Markup:
    return Markup(static_text(name))


@cache
def _environment() -> Environment:
    # A misspelt name in a template must fail, not print nothing.
    environment = Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.globals["inline"] = _inline
    environment.filters |= {"grid": grid, "leading_word": leading_word}
    return environment
