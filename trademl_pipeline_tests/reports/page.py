"""A page as a test reads it."""

from html.parser import HTMLParser

EMPTY_TAGS = {"meta", "br", "line", "circle", "path", "link", "img"}


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
