"""The places of what is not a table in the folder of a data set: models, ledgers, reports."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artifacts:
    """The files of one data set.

    Attributes:
        home: folder of the data set, absolute; paths in the lake are relative to it.
    """

    home: Path

    def models(self, study: str, month: str) -> Path:
        """Return the folder of the model of one fold."""
        return self.home / "models" / study / month[:7]

    def reports(self, study: str) -> Path:
        """Return the folder of a study's reports."""
        return self.home / "reports" / study

    def attention(self, study: str, month: str) -> Path:
        """Return the file that keeps where a network looked in the examples of a month."""
        return self.models(study, month) / "attention.parquet"

    @property
    def trials(self) -> Path:
        """The ledger of trials of all searches."""
        return self.home / "trials.jsonl"

    @property
    def staging(self) -> Path:
        """The folder of downloads that can be resumed."""
        return self.home / "staging"

    def path(self, artifact: str) -> Path:
        """Return the path of an artifact as the lake names it."""
        return self.home / artifact

    def name(self, path: Path) -> str:
        """Return the name by which the lake knows a file."""
        return str(path.relative_to(self.home))
