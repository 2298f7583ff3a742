"""Values of a month's metadata beside numbers and texts; how they are drawn is the business of who shows them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Markdown:
    """A text to be rendered as Markdown; figures are pictures within it."""

    text: str


@dataclass(frozen=True)
class Json:
    """Plain data, shown as such."""

    data: Any


@dataclass(frozen=True)
class FilePath:
    """A file or folder on this machine."""

    path: str


# Values of a step's metadata: str, int, float, bool, None, or one of the classes above.
Metadata = dict[str, Any]
