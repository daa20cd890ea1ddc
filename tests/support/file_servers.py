"""File servers: SFTP and FTP on free ports of this machine, each with a folder of the test."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

USER, PASSWORD = "etl", "s3cr3t"


class FileServer(NamedTuple):
    """A server.

    Attributes:
        url: Where its folder is.
        folder: The folder.
        known_hosts: The line by which SFTP knows it.
    """

    url: str
    folder: Path
    known_hosts: str = ""


@contextmanager
def start_sftp_server(folder: Path) -> Iterator[FileServer]:
    """Start a server of SFTP, in which `folder` is the root."""
    import asyncssh  # pyright: ignore[reportMissingImports] (make test-scale installs it)

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return bool(username)

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, PASSWORD)

    key, loop, ports = asyncssh.generate_private_key("ssh-ed25519"), asyncio.new_event_loop(), []

    async def listen() -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[key],
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(folder).encode()),
        )

    ready = Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(listen())
        ports.append(server.get_port())
        ready.set()
        loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()

    thread = Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(60)
    public = key.export_public_key().decode().strip()
    known = f"[127.0.0.1]:{ports[0]} {' '.join(public.split()[:2])}"
    try:
        yield FileServer(f"sftp://127.0.0.1:{ports[0]}", folder, known)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)


@contextmanager
def start_ftp_server(folder: Path) -> Iterator[FileServer]:
    """Start a server of FTP, in which `folder` is the root."""
    from pyftpdlib.authorizers import DummyAuthorizer  # pyright: ignore[reportMissingImports]
    from pyftpdlib.handlers import FTPHandler  # pyright: ignore[reportMissingImports]
    from pyftpdlib.servers import ThreadedFTPServer  # pyright: ignore[reportMissingImports]

    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(folder), perm="elr")

    class Handler(FTPHandler):
        pass

    Handler.authorizer = authorizer
    server = ThreadedFTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"handle_exit": False}, daemon=True)
    thread.start()
    try:
        yield FileServer(f"ftp://127.0.0.1:{server.address[1]}", folder)
    finally:
        server.close_all()
        thread.join(60)
