"""The cause of a leak as its behaviour tells it: how far ahead a value sees, its likely pattern, and the fix."""

from dataclasses import dataclass

SHIFT = "shift"
CENTRED = "centred window"
FILL = "backfill"
SAMPLE = "full-sample statistic"
LATER_ROWS = "existence of later rows"
SOURCE = "later source"
LATE = "late knowledge time"
LEVEL = "price level"
MEMORY = "undeclared look-back"
STATE = "state between calls"
UNCLEAR = "unclear"

FIXES = {
    SHIFT: "let each row read its own session and earlier ones: no shift(-n), no lead, no rows sorted newest first",
    CENTRED: "use a trailing window (center=False), or date the value at the session at which its window is complete",
    FILL: "fill forwards from earlier values or leave the value missing; no backward_fill or bfill",
    SAMPLE: "compute the statistic over a trailing or expanding window, or fit it on training rows alone",
    LATER_ROWS: "let nothing depend on which rows exist later: no len(), last date, survivors or columns of the sample",
    SOURCE: "join the source as of each session, backwards, by the time at which its rows became known",
    LATE: "use a row from its knowledge_time on, and what was known before until then",
    LEVEL: "divide by something of the same unit, such as an earlier price or a mean volume",
    MEMORY: "declare as long a warm-up as the value needs, or use a window that ends",
    STATE: "keep no cache, fitted object or counter from one call to the next",
    UNCLEAR: "compute the value from rows up to its session alone, then compare the values around the leak",
}

# Of probes whose violations have one cause, or none that their behaviour could tell apart.
PROBE_FIXES = {
    "adjustment": FIXES[LEVEL],
    "incremental": "compute the month from its declared warm-up; keep no state between calls, change no published row",
    "knowledge": "use an input only in decisions after its knowledge_time, or correct the clock of the source",
    "universe": "take members from intervals as they were known on each day, and the prices of those that left as well",
    "folds": "purge training rows whose labels end, with the embargo, after the fold's first decision",
    "fit_ledger": "fit on the fold's training rows alone, by the ledger that the step is given",
    "access": "freeze everything that is fitted or chosen, then read the test rows once",
    "model": "normalize, mask and attend within one row's own steps, and put the network in evaluation mode",
    "windows": "build windows within one symbol, in the order of sessions, up to the session of the row",
    "execution": "decide, order and fill in this order, at prices that the bar after the order has",
    "content": "materialize the month again, so that the gate audits what the lake holds",
    "rerun": "let the step read its view alone, and nothing that the decisions of later sessions bring",
    "statistics": "look for targets or later prices among the inputs",
}


@dataclass(frozen=True)
class Diagnosis:
    """The cause of a violation, as far as the behaviour of the column singles it out.

    Attributes:
        pattern: one of the names above; `UNCLEAR` where the evidence fits several.
        evidence: what was seen, in one clause.
        horizon: how many sessions ahead the value sees; None where it does not look ahead, or was not measured.
        is_minimum: the bars end before the value is reproduced, so that it may see further than `horizon`.
        origin: `file:line` of the code that makes the column; empty where it cannot be told.
        remedy: the fix, where it is another than that of the pattern.
    """

    pattern: str
    evidence: str
    horizon: int | None = None
    is_minimum: bool = False
    origin: str = ""
    remedy: str = ""

    @property
    def fix(self) -> str:
        """The fix in one sentence."""
        return self.remedy or FIXES[self.pattern]

    @property
    def reach(self) -> str:
        """The horizon in words, such as "at least 12 sessions"; empty without one."""
        if self.horizon is None:
            return ""
        sessions = f"{self.horizon:,} session{'s' * (self.horizon != 1)}"
        return f"at least {sessions}" if self.is_minimum else sessions

    @property
    def words(self) -> str:
        """All of it in one line."""
        named = "pattern unclear" if self.pattern == UNCLEAR else f"likely pattern: {self.pattern}"
        parts = [
            f"sees {self.reach} ahead" if self.reach else "",
            f"{named} ({self.evidence})",
            f"made at {self.origin}" if self.origin else "",
        ]
        return f"{'; '.join(part for part in parts if part)}. Fix: {self.fix}"
