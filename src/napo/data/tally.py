"""Counts, examples and notes as they come up while a log is read: nothing is left out in silence.

Path    [data.tally] -> readers, titles, events, log
"""

import polars as pl

EXAMPLES = 3  # names shown beside each count


class Tally:
    """Filled by each step in turn; what it holds ends in the log, in the output and in the run's folder."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, tuple[str, ...]] = {}
        self.notes: list[str] = []

    def count(self, name: str, number: int, examples: pl.Series | None = None) -> int:
        """Add a count, with its first example names; give the number back."""
        self.counts[name] = self.counts.get(name, 0) + number
        if number and examples is not None:
            names = examples.drop_nulls().unique(maintain_order=True).head(EXAMPLES)
            self.examples[name] = tuple(str(value) for value in names)
        return number

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)
