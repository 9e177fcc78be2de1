"""OpenSSH's own SFTP server behind an SSH server on loopback: `python sftp_server.py HOSTKEY AUTHORIZED`. Prints its port,
and serves until its standard input ends."""

import asyncio
import os
import subprocess
import sys

import asyncssh

SFTP_SERVER = "/usr/lib/openssh/sftp-server"


class Session(asyncssh.SSHServerSession[bytes]):
    """Passes what the channel carries to a process, and back."""

    def connection_made(self, chan: "asyncssh.SSHServerChannel[bytes]") -> None:
        self._channel = chan
        self._waiting: list[bytes] = []
        self._process: asyncio.subprocess.Process | None = None

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == "sftp"

    def session_started(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if self._process is None or self._process.stdin is None:
            self._waiting.append(data)
        else:
            self._process.stdin.write(data)

    def eof_received(self) -> bool:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _run(self) -> None:
        pipe = subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(SFTP_SERVER, stdin=pipe, stdout=pipe)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(b"".join(self._waiting))
        while data := await self._process.stdout.read(1 << 18):
            self._channel.write(data)
        self._channel.exit(await self._process.wait())


class Server(asyncssh.SSHServer):
    def session_requested(self) -> Session:
        return Session()


async def main(host_key: str, authorized: str) -> None:
    server = await asyncssh.create_server(
        Server,
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=authorized,
        encoding=None,
    )
    print(server.get_port(), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
