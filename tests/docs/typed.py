"""The commands of a page typed at a desk, one after the other: napo in this process, servers and curl in their own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.commands import napo_in
from tests.docs.commands import Command
from tests.serving.http.served import Served, Starter, served

DUCKDB = "import duckdb, sys; print(duckdb.sql(sys.argv[1]))"  # the package brings no program


class Terminal:
    """Whoever types. Servers begin at free ports, and run until `with` ends.

    starter: asked for when a server begins. env: of servers and of what is no napo, beside this process's own.
    """

    def __init__(self, desk: Path, starter: Callable[[], Starter], env: Mapping[str, str]) -> None:
        self.desk, self._starter, self._env = desk, starter, env
        self._server: Served | None = None  # the newest
        self._end = ExitStack()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        self._end.close()

    def type(self, command: Command, more: tuple[str, ...] = ()) -> None:
        """Do as the command says, with more options behind it; it has to end well."""
        words = [*command.words[1:], *more]
        if command.program == "napo" and words[0] == "serve":
            self._serve(*words[1:])
        elif command.program == "napo":
            ran = napo_in(self.desk)(*words)
            assert ran.code == 0, f"{command}\n{ran.out}\n{ran.err}"
        elif command.program == "curl":
            self._ask(command)
        elif command.program == "duckdb":
            self._run(command, [sys.executable, "-c", DUCKDB, words[1]])
        else:
            self._run(command, ["bash", "-c", command.text])

    def _serve(self, *words: str) -> None:
        """Goes on when the server says that it is ready."""
        folder = self.desk.parent / "servers"
        server = self._end.enter_context(served(self._starter(), folder, *words, cwd=self.desk, **self._env))
        assert server.client.get("/readyz").status_code == 200
        self._server = server

    def _ask(self, command: Command) -> None:
        """The newest server is asked, wherever it listens."""
        assert self._server is not None, f"{command}: no server was started"
        here = re.sub(r"(http://)?(localhost|127\.0\.0\.1):8000", self._server.address, command.text)
        said = self._run(command, ["bash", "-c", here.replace("curl ", "curl --fail-with-body -s ", 1)])
        assert json.loads(said), command

    def _run(self, command: Command, words: list[str]) -> str:
        env = {**os.environ, **self._env}
        ran = subprocess.run(words, cwd=self.desk, env=env, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout
