"""The panel process: store, picture, application and servers, wired together."""
# ruff: noqa: PLC0415 - what only few requests need is loaded by the first of them, so that the process serves sooner

import asyncio
import contextlib
import secrets
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from holdfast import logs
from holdfast.api.app import Local, create_app
from holdfast.api.context import ApiContext, make_context
from holdfast.api.protocol import HEADER_BYTES, Patient
from holdfast.api.task_keeper import TaskKeeper
from holdfast.bootstrap.files import PKI_DIR
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig, Tls, store_endpoints
from holdfast.core.model import FenceDeviceSpec, NodeSpec, ServiceAddress
from holdfast.errors import ConfigError
from holdfast.ports import PowerFence, Store
from holdfast.services.backup_gateway.check import BackendCheck
from holdfast.services.iscsi.files import VolumeFiles
from holdfast.services.s3.files import ClusterFiles
from holdfast.services.vm.images import QemuImages
from holdfast.store.etcd import EtcdStore
from holdfast.store.measured import MeasuredStore

_log = structlog.get_logger("holdfast.panel")

SHUTDOWN_S = 1
"""Open streams are cut after this time."""
CERTIFICATE_CHECK_S = 5.0
HANDSHAKE_S = 10.0
"""For a TLS handshake, as for the headers behind it: asyncio would wait a minute for who says nothing."""
FAREWELL_S = 5.0
"""For the end of TLS, which a client that is gone does not answer."""


async def serve(config: NodeConfig, tcp: Sequence[socket.socket], local: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises ConfigError if the certificate cannot be used."""
    logs.configure(form=config.log_format, daemon="panel", host=config.id)
    clock = SystemClock()
    endpoints = store_endpoints(config)
    store = EtcdStore(endpoints, config.tls, clock=clock, spread=config.id)
    context = make_context(
        config.id,
        MeasuredStore(store, clock),
        clock,
        session=secrets.token_hex(8),
        fences=LazyFences(),
        probe=NetworkProbe(config),
        make_bundle=_make_bundle,
        images=QemuImages(),
        files=VolumeFiles(clock),
        cluster_secret=_cluster_secret,
        s3_files=ClusterFiles(clock),
        backends=BackendCheck(config.id, config.tls.ca, clock),
        log_dir=Path(config.log_dir),
        pki_dir=PKI_DIR,
    )
    app = create_app(context)
    _mount_panel(app, context)
    tls = tls_context(config.tls)
    servers = [(make_server(app, tls), list(tcp)), (make_server(Local(app), None), [local])]
    tasks = [
        asyncio.create_task(context.cache.run()),
        asyncio.create_task(TaskKeeper(store, context.cache, clock).run()),
        asyncio.create_task(_follow_endpoints(context, store, endpoints)),
        asyncio.create_task(_follow_certificate(config.tls, tls)),
    ]
    serving = [asyncio.create_task(server.serve(sockets=sockets)) for server, sockets in servers]
    _log.info("serving", node=config.id, session=context.session)
    stopped = asyncio.create_task(stop.wait())
    # None of the tasks ends by itself: if one does, the process ends and the agent starts it anew.
    done, _ = await asyncio.wait([stopped, *tasks, *serving], return_when=asyncio.FIRST_COMPLETED)
    context.cache.close()
    for server, _ in servers:
        server.should_exit = True
    await asyncio.gather(*serving, return_exceptions=True)
    await context.works.close()
    for task in (*tasks, stopped):
        task.cancel()
    await asyncio.gather(*tasks, stopped, return_exceptions=True)
    await store.close()
    for task in done - {stopped}:
        task.result()


def make_server(app: ASGIApp, tls: ssl.SSLContext | None) -> "Server":
    """Serves the sockets it is given, with TLS or without, until `should_exit` is set. Leaves signals and logs alone."""
    config = uvicorn.Config(
        app,
        http=Patient,
        h11_max_incomplete_event_size=HEADER_BYTES,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=512,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    config.load()
    config.ssl = tls
    return Server(config)


class Server(uvicorn.Server):
    """Leaves the signals alone: the process handles them for all its servers. Waits for nobody's handshake for long."""

    handshake_s = HANDSHAKE_S

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's own for sockets that it is given, which knows no times."""
        config, loop = self.config, asyncio.get_running_loop()
        await self.lifespan.startup()
        handshake_s, farewell_s = (self.handshake_s, FAREWELL_S) if config.ssl else (None, None)

        def protocol() -> asyncio.Protocol:
            kind: Any = config.http_protocol_class
            made: asyncio.Protocol = kind(config=config, server_state=self.server_state, app_state=self.lifespan.state)
            return made

        self.servers = [
            await loop.create_server(
                protocol,
                sock=sock,
                ssl=config.ssl,
                backlog=config.backlog,
                ssl_handshake_timeout=handshake_s,
                ssl_shutdown_timeout=farewell_s,
            )
            for sock in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def tls_context(files: Tls) -> ssl.SSLContext:
    """The node's certificate for clients. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.cert, files.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificate {files.cert} with its key {files.key} cannot be used: {error}",
            "Restore both files, or let the node join again.",
        ) from error
    return context


async def _follow_certificate(files: Tls, context: ssl.SSLContext) -> None:
    """New connections get the renewed certificate (e.g. after the panel got an address) without a restart."""
    seen = _stamp(files)
    while True:
        await asyncio.sleep(CERTIFICATE_CHECK_S)
        stamp = _stamp(files)
        if stamp != seen:
            try:
                context.load_cert_chain(files.cert, files.key)
            except (OSError, ssl.SSLError) as error:
                _log.warning("certificate-not-reloaded", error=str(error))  # perhaps half-written: tried again
                continue
            seen = stamp


def _stamp(files: Tls) -> tuple[int, ...]:
    try:
        return tuple(Path(name).stat().st_mtime_ns for name in (files.cert, files.key))
    except OSError:
        return ()


async def _follow_endpoints(context: ApiContext, store: EtcdStore, endpoints: tuple[str, ...]) -> None:
    version = -1
    while True:
        version = await context.cache.wait_newer(version)
        members = context.cache.status.management.members
        voters = tuple(member.client_url for member in members if member.state == "voter")
        if voters and voters != endpoints:
            endpoints = voters
            store.update_endpoints(endpoints)


class LazyFences:
    """PowerFences that loads the fence devices' code when it is first needed."""

    def open(self, device: FenceDeviceSpec) -> PowerFence:
        from holdfast.fencing.power.registry import make_fences

        return make_fences(_cluster_secret).open(device)


class NetworkProbe:
    """Asks this node's networks who has an address."""

    def __init__(self, config: NodeConfig) -> None:
        self._addresses = dict(config.addresses)

    async def __call__(self, address: ServiceAddress) -> str:
        from holdfast.net.addresses import KernelAddresses

        addresses = KernelAddresses(self._addresses)
        try:
            return await addresses.probe(address)
        finally:
            await addresses.close()


async def _make_bundle(store: Store, spec: NodeSpec) -> bytes:
    from holdfast.bootstrap.bundle import make_bundle

    return await make_bundle(store, spec)


def _cluster_secret() -> bytes:
    from holdfast.bootstrap import files
    from holdfast.bootstrap.secrets import read_with_previous

    return read_with_previous(files.PKI_DIR / files.CLUSTER_SECRET)


def _mount_panel(app: FastAPI, context: ApiContext) -> None:
    from holdfast.panel.web import mount  # the panel is built upon the API, so only this function knows it

    mount(app, context)
