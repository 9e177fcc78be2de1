"""holdfast-panel: serves API and panel on every management node, over TLS and on a Unix socket for root.

It is stateless and warm: whichever node has the panel's address at the moment, its process is running already.
"""

import argparse
import asyncio
import signal
import socket
import sys
from pathlib import Path

from holdfast import config as node_config
from holdfast.api import listen
from holdfast.errors import HoldfastError
from holdfast.software import announce


def main() -> None:
    """Exit status 2: wrong configuration, said in one line."""
    parser = argparse.ArgumentParser(prog="holdfast-panel", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, default=node_config.DEFAULT_PATH)
    parser.add_argument("--port", type=int, default=node_config.PANEL_PORT)
    arguments = parser.parse_args()
    try:
        config = node_config.load(arguments.config)
        announce(config.run_dir, "panel")
        tcp = listen.tcp_sockets(arguments.port)
        local = listen.unix_socket(config.api_socket)
        mine = config.api_socket.stat().st_ino
        try:
            asyncio.run(_serve(config, tcp, local))
        finally:
            listen.remove_socket(config.api_socket, mine)
    except HoldfastError as error:
        print(f"holdfast-panel: {error}", file=sys.stderr)
        sys.exit(2)


async def _serve(config: node_config.NodeConfig, tcp: list[socket.socket], local: socket.socket) -> None:
    from holdfast.api.server import serve  # noqa: PLC0415 - the heavy part, while clients queue already

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, tcp, local, stop)


if __name__ == "__main__":
    main()
