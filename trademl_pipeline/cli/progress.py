"""How far the work is, on a terminal: bars that move, and lines that stay."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

WIDTH = 40


class TerminalListener:
    """Shows on a console what a run tells; a listener of `pipeline.run`.

    Args:
        console: to print to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._bar = TaskID(0)

    def began(self, title: str, total: int) -> None:
        """Show a bar of so many pieces."""
        self.ended()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._progress.start()
        self._bar = self._progress.add_task(title, total=total)

    def advanced(self, what: str, pieces: int = 1) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.update(self._bar, description=what[:WIDTH], advance=pieces)

    def at(self, what: str, done: int, total: int) -> None:
        """Set the bar to a place."""
        if self._progress is not None:
            self._progress.update(self._bar, description=what, completed=done, total=total)

    def ended(self) -> None:
        """Leave the bar full, since what was not to be done any more is done with too."""
        if self._progress is not None:
            task = self._progress.tasks[0]
            self._progress.update(self._bar, completed=task.total)
            self._progress.stop()
            self._progress = None

    def broke_off(self) -> None:
        """Leave the bar where it is."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def said(self, line: str) -> None:
        """Print a line."""
        self._console.print(line, highlight=False)

    def problem(self, line: str) -> None:
        """Print what was refused or failed."""
        self._console.print("[red]refused or failed:[/red]", end=" ")
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)
