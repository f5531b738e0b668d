"""A real SSH server with SFTP on the loopback interface, in a thread of the test's own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh


@dataclass(frozen=True)
class SshServer:
    """Where it listens, the key that it lets in, and the folder that is its `/`."""

    port: int
    keyfile: Path
    root: Path


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Serve `folder / "served"` to whoever holds the key in `folder / "key"`."""
    root, keyfile = folder / "served", folder / "key"
    root.mkdir()
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(keyfile)
    key.write_public_key(folder / "key.pub")

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=str(folder / "key.pub"),
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
        )

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
        try:
            yield SshServer(acceptor.get_port(), keyfile, root)
        finally:
            acceptor.close()
            asyncio.run_coroutine_threadsafe(acceptor.wait_closed(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
