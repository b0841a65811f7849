"""Debian's PostgreSQL server, started by tests."""

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
PASSWORD = "s:e@c/ret"


class Server:
    """A server with a folder of its own, run by a user who is not root, which it refuses."""

    def __init__(self, folder: Path) -> None:
        names = [name for name in ("postgres", "nobody") if name in {user.pw_name for user in pwd.getpwall()}]
        self._as_user = ["runuser", "-u", names[0], "--"] if os.geteuid() == 0 else []
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        if self._as_user:
            shutil.chown(folder, names[0])
            shutil.chown(folder / "password", names[0])
        how = ("-U", "tester", "--auth=scram-sha-256", f"--pwfile={folder}/password", "-N")
        self._call("initdb", "-D", f"{folder}/data", *how)
        self.start()

    def start(self) -> None:
        options = f"-p {self._port} -h 127.0.0.1 -k {self._folder} -F"
        self._call("pg_ctl", "-D", f"{self._folder}/data", "-o", options, "-l", f"{self._folder}/log", "-w", "start")

    def stop(self) -> None:
        self._call("pg_ctl", "-D", f"{self._folder}/data", "-m", "immediate", "-w", "stop")

    def database(self, name: str) -> str:
        """The URL of a new database."""
        from sqlalchemy import create_engine, text

        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name)

    def url(self, name: str, password: str = "s%3Ae%40c%2Fret") -> str:
        return f"postgresql://tester:{password}@127.0.0.1:{self._port}/{name}"

    def _call(self, program: str, *words: str) -> None:
        assert BINARIES
        command = [*self._as_user, str(BINARIES / program), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
