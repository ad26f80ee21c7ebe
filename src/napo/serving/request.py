"""What somebody asks a recommender for, as typed and as understood.

Path    the command line, HTTP, Python -> [serving.request] -> recommender
Takes   a history or a user, how many items, a filter
Gives   Request; Asked, in which nothing can be wrong any more
"""

from collections.abc import Sequence
from dataclasses import dataclass

from napo.arrays import IntArray
from napo.errors import UserError
from napo.serving.filter import Filter, Permitted
from napo.serving.history import Named
from napo.serving.where import Where


class UnknownUser(UserError):
    """A user that the log does not know, or that this folder was saved without."""


@dataclass(frozen=True)
class Request:
    """Who asks, and for what; see Recommender.recommend. Exactly one of history and user is given."""

    history: Sequence[str] | None = None
    user: str | None = None
    k: int = 10
    exclude_seen: bool = True
    filter: Filter | Where = ()


@dataclass(frozen=True, eq=False)
class Asked:
    """A request that was read: all that may be wrong with it has been told. excluded: (e,) items that are left out."""

    named: Named
    excluded: IntArray
    k: int
    permitted: Permitted
