"""One event of a user with an item.

Path    a request -> [events.event] -> events.store
Takes   what a client says
Gives   Event; a UserError that names the field, for what can't be kept
"""

import uuid
from dataclasses import dataclass, field
from typing import Literal, get_args

from napo.errors import UserError

Kind = Literal["took", "skipped", "shown"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LONGEST = 500  # characters of a user, an item, a request; PostgreSQL's indexes end at 2,700 bytes
LONGEST_KEY = 200
_TIMES = (94_694_400_000, 4_102_444_800_000)  # 1973 to 2100, in milliseconds: seconds would be 1970


@dataclass(frozen=True)
class Event:
    """A user took, skipped or was shown an item; `shown` says no more than that.

    user, item: their keys, as texts. time: milliseconds since 1970 UTC; None: when the store takes it down.
    request: the list that the item stood in, by any name. position: in that list, from 1.
    propensity: the chance with which whoever chose the list showed the item at all, in (0, 1].
    key: the event's own name; an event that comes again under its key is the same event. Without one it gets a new one.
    """

    user: str
    item: str
    kind: Kind
    time: int | None = None
    request: str | None = None
    position: int | None = None
    propensity: float | None = None
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        _check_text("user", self.user, LONGEST)
        _check_text("item", self.item, LONGEST)
        _check_text("key", self.key, LONGEST_KEY)
        if self.request is not None:
            _check_text("request", self.request, LONGEST)
        if self.kind not in KINDS:
            raise UserError(f"no kind of event {self.kind!r}", where="kind", remedy=", ".join(KINDS))
        if self.time is not None and not _TIMES[0] <= self.time < _TIMES[1]:
            what = f"{self.time} as milliseconds since 1970 lies outside 1973 to 2099"
            raise UserError(what, where="time", remedy="milliseconds, such as 1700000000000")
        if self.position is not None and not 1 <= self.position < 2**31:
            raise UserError(f"no position {self.position}", where="position", remedy="positions count from 1")
        if self.propensity is not None and not 0 < self.propensity <= 1:
            raise UserError(f"{self.propensity} is no chance", where="propensity", remedy="above 0, at most 1")


def _check_text(name: str, text: str, longest: int) -> None:
    if not text.strip():
        raise UserError(f"the {name} is empty", where=name, remedy="a text")
    if len(text) > longest:
        raise UserError(f"the {name} has {len(text)} characters", where=name, remedy=f"at most {longest}")
    # PostgreSQL keeps no NUL, and half of a surrogate pair is no UTF-8
    if "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)):
        raise UserError(f"the {name} holds a character that can't be stored", where=name, remedy="plain Unicode text")
