"""A real PostgreSQL server for a test session, of the machine's own package, run by a user of its own."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.needs import missing

PASSWORD = "s3cret word"  # with a blank, which a URL has as %20


@dataclass(frozen=True)
class Server:
    """A running server. url: of its superuser, password included; bare: the same without it."""

    folder: Path
    programs: Path
    port: int

    @property
    def url(self) -> str:
        return self.bare.replace("napo@", "napo:s3cret%20word@")

    @property
    def bare(self) -> str:
        return f"postgresql://napo@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        _as_its_user(self.programs / "pg_ctl", "-D", self.folder / "data", "-w", "-o", options, "start")

    def stop(self) -> None:
        _as_its_user(self.programs / "pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop")


@contextmanager
def running() -> Iterator[Server]:
    """A new server with an empty database, gone with all its files at the end."""
    programs = _programs()
    if programs is None:
        missing("no PostgreSQL server on this machine: apt-get install postgresql")
    if os.getuid() == 0 and _other_user() is None:
        missing("PostgreSQL does not run as root, and there is no other user to run it as")
    folder = Path(tempfile.mkdtemp(prefix="napo-postgresql-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if (user := _other_user()) is not None:
            for path in (folder, folder / "password"):
                os.chown(path, user.pw_uid, user.pw_gid)
        words = ("-U", "napo", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync")
        _as_its_user(programs / "initdb", "-D", folder / "data", "-E", "UTF8", *words)
        server = Server(folder, programs, _free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_its_user(program: Path, *words: str | Path) -> None:
    user = _other_user()
    who = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with tempfile.TemporaryFile("w+") as said:  # not a pipe: the server would hold it open
        ran = subprocess.run(
            [program, *words],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd="/",
            check=False,
            **who,
        )
        said.seek(0)
        assert ran.returncode == 0 or "stop" in words, said.read()


def _programs() -> Path | None:
    """The newest that Debian's packages have, or those on the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    found = shutil.which("postgres")
    return versions[-1].parent if versions else Path(found).resolve().parent if found else None


def _other_user() -> pwd.struct_passwd | None:
    """Who runs the server where we are root; None: we do, or nobody can."""
    if os.getuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get("postgres") or known.get("nobody")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
