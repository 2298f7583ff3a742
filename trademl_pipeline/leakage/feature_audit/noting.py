"""Notes of a walk over an extractor: its findings, and for a memory of it all that it has read."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from trademl_pipeline.leakage.feature_audit.constants import FEW, FEW_IN_CODE, Shape, data_in
from trademl_pipeline.leakage.feature_audit.libraries import Libraries
from trademl_pipeline.leakage.feature_audit.memory import Judgements, Later, Readings
from trademl_pipeline.leakage.feature_audit.places import Place
from trademl_pipeline.leakage.feature_audit.reached import Reached
from trademl_pipeline.settings import variables


class Noting:
    """The notes of a walk.

    Args:
        shape: of the panel under audit, which tells data from settings.
        libraries: whose functions are not looked into.

    Attributes:
        reached: the findings.
        later: keeps what of the pipeline's own is met, and is not looked into here; None: nothing.
        readings, judgements: note what is read, and how it is judged; None: nobody does.
    """

    later: Later | None = None
    readings: Readings | None = None
    judgements: Judgements | None = None

    def __init__(self, shape: Shape, libraries: Libraries) -> None:
        self.reached = Reached()
        self.shape = shape
        self.libraries = libraries

    def judge(self, label: str, value: Any, few: int = FEW) -> bool:
        """Name a value that is data, and return whether it is.

        Args:
            label: for reports.
            value: text, a number, a day, or a container of such.
            few: numbers that are still settings.
        """
        try:
            reason = data_in(value, self.shape, few)
        except Exception as error:
            # A container of a class of its own may read what it likes.
            reason = f"{type(value).__name__} that cannot be read: {type(error).__name__}"
        if self.judgements is not None:
            self.judgements.add_value(value, few, reason)
        if reason is not None:
            self.name(label, reason)
        return reason is not None

    def judge_array(self, label: str, array: np.ndarray) -> bool:
        """Name an array that is data, and return whether it is.

        Args:
            label: for reports.
            array: of any kind of values; of days, objects, fields or many texts nothing tells what they are.
        """
        texts = array.dtype.kind in "SUVT" and array.size > FEW
        if array.dtype.kind in "OM" or texts or array.dtype.names is not None:
            self.name(label, f"an array of {array.size:,} values")
            return True
        return self.judge(label, np.asarray(array).ravel()[: FEW + 1].tolist())

    def judge_environment(self) -> None:
        """Name the environment variables that are data, of which code may read any."""
        self.read(None)
        for name, text in variables().items():
            self.judge(f"environment variable {name}", text)

    def judge_together(self, label: str, values: Iterable[Any]) -> None:
        """Name numbers that lie in many places of one object, each of which alone is a setting.

        Args:
            label: for reports.
            values: in all the places.
        """
        numbers = [v for v in values if type(v) in (int, float)]
        if len(numbers) > FEW_IN_CODE:
            self.judge(label, numbers, FEW_IN_CODE)

    def read(self, read: Callable[[], Iterable[Any]] | None) -> None:
        """Note what is read in a place; None: it cannot be told whether that changes."""
        if self.readings is not None:
            self.readings.read(read)

    def name(self, label: str, reason: str) -> None:
        """Name what nothing can cut."""
        self.reached.named.setdefault(label, reason)

    def place(self, place: Place | None) -> None:
        """Remember where a call can leave something."""
        if place is not None:
            self.reached.places.append(place)
