"""A user's mistake: what went wrong, where, and the remedy.

The command line turns `UserError` alone into a message and exit code 2; anything else is a fault of ours and keeps
its traceback.
"""

import difflib
from collections.abc import Iterable, Sequence


class UserError(Exception):
    """Something the user can put right.

    what: one sentence. where: file, line, key or flag. remedy: what to do, or the nearest right names.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.remedy = what, where, remedy

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  in    {self.where}")
        if self.remedy:
            lines.append(f"  try   {self.remedy}")
        return "\n".join(lines)


class UserErrors(UserError):
    """All the mistakes of one file, together."""

    def __init__(self, errors: list[UserError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors

    def __str__(self) -> str:
        return self.what


def raise_together(errors: Sequence[UserError]) -> None:
    """Raise the errors, if any: one as it is, several as one."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UserErrors(list(errors))


def short(text: str, most: int = 80) -> str:
    """A text for a message: cut where it is long, as nobody reads a page of what was pasted by mistake."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """At most `count` of the known names, most alike first, case forgiven; empty where none is alike."""
    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=count, cutoff=0.5)
    return [by_folded[name] for name in found]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for a mistyped name: near misses first, else all the known names."""
    known = sorted(known)
    close = nearest(word, known)
    return f"{', '.join(f'`{name}`' for name in close)}" if close else f"one of: {', '.join(known)}"
