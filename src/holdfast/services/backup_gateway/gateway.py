"""The gateway program: `python -m holdfast.services.backup_gateway.gateway CONFIGFILE`.

It serves until SIGTERM or SIGINT. A back-end that cannot be reached is no reason to end: requests and health are answered
with 503 until it can. Ends with 2 if its own files or its address are not usable.
"""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from pathlib import Path

import structlog

from holdfast import logs
from holdfast.clock import SystemClock
from holdfast.errors import ConfigError, HoldfastError
from holdfast.ports import Clock
from holdfast.services.backup_gateway.backends.open import open_backend
from holdfast.services.backup_gateway.backends.port import Backend
from holdfast.services.backup_gateway.config import GatewayConfig, from_bytes
from holdfast.services.backup_gateway.health import Health
from holdfast.services.backup_gateway.http import Server, listen
from holdfast.services.backup_gateway.protocol import RestProtocol
from holdfast.services.backup_gateway.users import Users

_log = structlog.get_logger("holdfast.backup")

GRACE_S = 5.0
"""For requests under way when the gateway is told to end; their clients repeat them elsewhere."""
CERTIFICATE_CHECK_S = 5.0
SWEEP_S = 3600.0


async def serve(config: GatewayConfig, stop: asyncio.Event) -> None:
    """Raises ConfigError."""
    clock = SystemClock()
    tls = _tls(config)
    users = Users(config.users)
    users.load()
    backend = open_backend(config, clock)
    health = Health(backend, clock)
    server = Server(RestProtocol(backend, users, health, clock, append_only=config.append_only), clock)
    try:
        listener = listen(config.address, config.port)
    except OSError as error:
        raise ConfigError(
            f"{config.address} port {config.port} cannot be listened at: {error}", "Free the port or choose another."
        ) from error
    await server.start(listener, tls)
    _log.info("serving", name=config.name, address=config.address, port=config.port)
    tasks = [
        asyncio.create_task(_follow_certificate(config, tls, clock)),
        asyncio.create_task(_sweep(backend, clock)),
        asyncio.create_task(health.problem()),
    ]
    await stop.wait()
    _log.info("stopping", name=config.name)
    await server.stop(GRACE_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await health.close()
    await backend.close()
    _log.info("ended", name=config.name)


def _tls(config: GatewayConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(config.cert, config.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificate {config.cert} with its key {config.key} cannot be used: {error}",
            "Restart the gateway to have both written anew.",
        ) from error
    return context


async def _follow_certificate(config: GatewayConfig, tls: ssl.SSLContext, clock: Clock) -> None:
    """New connections get the renewed certificate."""
    stamp = _stamp(config)
    while True:
        await clock.sleep(CERTIFICATE_CHECK_S)
        if (now := _stamp(config)) != stamp:
            with contextlib.suppress(OSError, ssl.SSLError):  # half written: next time
                tls.load_cert_chain(config.cert, config.key)
                stamp = now
                _log.info("certificate renewed")


def _stamp(config: GatewayConfig) -> tuple[int, ...]:
    with contextlib.suppress(OSError):
        return tuple(Path(file).stat().st_mtime_ns for file in (config.cert, config.key))
    return ()


async def _sweep(backend: Backend, clock: Clock) -> None:
    while True:
        await clock.sleep(SWEEP_S)
        try:
            if swept := await backend.sweep():
                _log.info("old temporary files removed", count=swept)
        except HoldfastError as error:
            _log.warning("temporary files not removed", error=str(error))


async def _main(config: GatewayConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, stop)


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -m holdfast.services.backup_gateway.gateway CONFIGFILE", file=sys.stderr)
        return 2
    logs.configure(daemon="backup-gateway")
    try:
        file = Path(arguments[0])
        config = from_bytes(file.read_bytes(), str(file))
        asyncio.run(_main(config))
    except (HoldfastError, OSError) as error:
        print(f"backup gateway: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)  # a thread that hangs in a dead storage must not hold up the end
