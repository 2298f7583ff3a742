"""A page as a test reads it."""

import re
from html.parser import HTMLParser

from trademl_pipeline.reports.pages.rendering import static_text

EMPTY_TAGS = {"meta", "br", "line", "circle", "path", "link", "img"}


def _colours():
    """Colours of each theme, as the style sheet names them."""
    light, dark = re.findall(r":root \{(.*?)\}", static_text("report.css"), re.DOTALL)
    return {
        theme: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rules))
        for theme, rules in (("light", light), ("dark", dark))
    }


COLOURS = _colours()


class Page(HTMLParser):
    """Collects what a page refers to and whether its elements nest."""

    def __init__(self, html):
        super().__init__()
        self.open, self.references, self.scripts, self.errors, self.text = [], [], 0, [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        # A link is followed by a reader, or not; the page does not need it.
        if tag != "a":
            needed = ("src", "href", "srcset", "data", "action", "poster")
            self.references += [v for k, v in attrs if k in needed]
        self.scripts += tag == "script"
        if tag not in EMPTY_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.errors.append((tag, self.getpos()))

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.text.append(data)
