"""How a server is to run: where it listens, who may ask, and how much.

Path    the command line -> [serving.http.settings] -> app, models, guard
Takes   what was typed
Gives   ServerSettings; a UserError for what would leave the server open to anybody
"""

import ipaddress
from dataclasses import dataclass
from functools import cached_property

from napo.errors import UserError

LOOPBACK = "127.0.0.1"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ServerSettings:
    """token: what callers send as `Authorization: Bearer ...`; None: nobody is asked for one, on loopback alone.

    hosts: names besides those of this machine that requests may be addressed to. most_*: limits of one request.
    batch: most requests scored together. waiting: most that may wait; any more get 503. linger: see `Batcher`; 0: none
    is waited for. patience: seconds after which one that still waits gets 503. cache_mb: of each
    model, for histories that are asked about again. drain: seconds for what is under way when the server is told to
    stop.
    """

    host: str = LOOPBACK
    port: int = 8000
    token: str | None = None
    hosts: tuple[str, ...] = ()
    most_body: int = 1_000_000
    most_history: int = 1_000
    most_k: int = 1_000
    most_titles: int = 1_000
    most_explained: int = 20
    batch: int = 32
    waiting: int = 256
    linger: float = 0.003
    patience: float = 30.0
    body_seconds: float = 10.0
    cache_mb: int = 256
    drain: float = 8.0

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < 16:
            raise UserError(
                f"the token has {len(self.token)} characters, and could be guessed",
                where="NAPO_TOKEN, --token-file",
                remedy="at least 16: `python -c 'import secrets; print(secrets.token_urlsafe())'`",
            )
        if not self.local and self.token is None:
            raise UserError(
                f"on {self.host} other machines could reach the server, and anybody could write and reload models",
                where="--host",
                remedy="set NAPO_TOKEN, or `--token-file FILE`; or leave `--host` out, which is this machine alone",
            )

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @cached_property
    def names(self) -> frozenset[str] | None:
        """The names that requests may be addressed to; None: any, since it is known by names that we do not know.

        A page of anybody's can have its own name point at this machine; so on loopback names are checked.
        """
        return frozenset((*LOCAL_NAMES, self.host, *self.hosts)) if self.local or self.hosts else None
