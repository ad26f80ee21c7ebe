"""Where a database is, as people type it: a URL or a file; and the same without its password.

Path    recipe, flags -> [data.address] -> data.database, events
Takes   sqlite:///shop.db, duckdb:///shop.duckdb, postgresql://user@host/name, or the path of a database file
Gives   Address; texts that may be printed and kept

A password is used, never shown and never written: what a run keeps has none, and PostgreSQL's own places
(PGPASSWORD, ~/.pgpass) give it again.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from napo.errors import UserError

Kind = Literal["sqlite", "duckdb", "postgresql"]

_SUFFIXES: dict[str, Kind] = {
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".duckdb": "duckdb",
    ".ddb": "duckdb",
}
_SCHEMES: dict[str, Kind] = {
    "sqlite": "sqlite",
    "duckdb": "duckdb",
    "postgresql": "postgresql",
    "postgres": "postgresql",
}
_EXAMPLES = "sqlite:///shop.db, duckdb:///shop.duckdb, postgresql://user@host/name, or a database file"
_SECRET = ("password", "sslpassword", "passfile")
# greedy, over everything without a blank: rather too much hidden than too little
_IN_TEXT = re.compile(r"(\w[\w+.-]*://[^\s:@/]*):\S*@")
_IN_QUERY = re.compile(rf"((?:{'|'.join(_SECRET)})=)[^&\s]*")


@dataclass(frozen=True)
class Address:
    """kind: which database. path: its file; None for a server. url: a server's, as its library takes it."""

    kind: Kind
    path: Path | None = None
    url: str = ""

    def __repr__(self) -> str:
        return f"Address({self.kind}, {self.shown})"

    @property
    def shown(self) -> str:
        """What messages call it: the file, or the server and the database, without user and password."""
        if self.path is not None:
            return str(self.path)
        parts = urlsplit(self.url)
        return f"{parts.netloc.rpartition('@')[2] or 'localhost'}{parts.path}"

    def hide(self, message: str) -> str:
        """A library's message without the password, which some of them repeat."""
        secrets = [urlsplit(self.url).password, *(value for name, value in _queries(self.url) if name in _SECRET)]
        for secret in filter(None, secrets):
            for form in {secret, unquote(secret), quote(secret, safe="")}:
                message = message.replace(form, "***")
        return hidden(message)


def is_database(text: str) -> bool:
    """Whether a text that names a log is a database's address, and no file of another kind."""
    return "://" in text or Path(text).suffix.casefold() in _SUFFIXES


def address_of(text: str) -> Address:
    """The address that a text means. Raises UserError for a kind that napo does not read, and for a URL in pieces."""
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        path = Path(text).expanduser()
        if (kind := _kind_of(path)) is None:
            raise UserError(f"{text} is no database that napo can tell", remedy=_EXAMPLES)
        return Address(kind, path)
    if (kind := _SCHEMES.get(scheme.partition("+")[0].casefold())) is None:
        raise UserError(f"napo does not read {scheme}:// databases", remedy=_EXAMPLES)
    if kind != "postgresql":
        # as everywhere: three slashes and a relative path, four and an absolute one
        if not rest.startswith("/") or rest == "/":
            raise UserError(f"{scheme}://{rest} names no file", remedy=f"{scheme}:///shop.db, or ////data/shop.db")
        return Address(kind, Path(unquote(rest[1:].partition("?")[0])).expanduser())
    url = f"postgresql://{rest}"
    if not _is_whole(url):
        raise UserError(
            f"the URL can't be taken apart: {hidden(url)}",
            remedy="in a password @ is written %40, / %2F, ? %3F, # %23; or leave it to PGPASSWORD or ~/.pgpass",
        )
    return Address(kind, url=url)


def rooted(text: str, folder: Path) -> str:
    """The same address with the path of a file taken from `folder`."""
    if "://" not in text:
        return str((folder / Path(text).expanduser()).resolve())
    address = address_of(text)
    return text if address.path is None else f"{address.kind}:///{quote(str((folder / address.path).resolve()))}"


def without_password(text: str) -> str:
    """The address as it may be kept: a URL still, and still of the same user, but with no password in it."""
    if "://" not in text:
        return text
    parts = urlsplit(text)
    front, at, host = parts.netloc.rpartition("@")
    query = [(name, value) for name, value in _queries(text) if name not in _SECRET]
    return url_of(parts.scheme, f"{front.partition(':')[0]}{at}{host}{parts.path}", query)


def url_of(scheme: str, rest: str, query: list[tuple[str, str]]) -> str:
    """Not urlunsplit: it drops the slashes where no host is named."""
    return f"{scheme}://{rest}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")


def hidden(text: str) -> str:
    """Any text, such as a command line, with *** for the passwords of the URLs in it."""
    return _IN_QUERY.sub(r"\1***", _IN_TEXT.sub(r"\1:***@", text))


def _is_whole(url: str) -> bool:
    """Whether the one @ of a URL stands before the host, so that no part of a password is taken for something else."""
    try:
        host = urlsplit(url).netloc
    except ValueError:  # brackets that are no address
        return False
    return host.count("@") == url.count("@") <= 1


def _queries(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)


def _kind_of(path: Path) -> Kind | None:
    """By its first bytes where the file is there, as `.db` is what both call theirs; else by its name."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        start = b""
    if start.startswith(b"SQLite format 3"):
        return "sqlite"
    if start[8:12] == b"DUCK":
        return "duckdb"
    return _SUFFIXES.get(path.suffix.casefold())
