"""restic's REST protocol, versions 1 and 2 (restic's documentation, "REST backend"), with two rules more: a user reaches
only what lies below their own name, and what is stored is what its name says."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, unquote

import structlog

from holdfast.errors import HoldfastError
from holdfast.ports import Clock
from holdfast.services.backup_gateway.backends.port import Backend, Missing
from holdfast.services.backup_gateway.cluster import BackupUser
from holdfast.services.backup_gateway.health import Health
from holdfast.services.backup_gateway.http import ClientGone, Request, Response
from holdfast.services.backup_gateway.names import CONFIG, Listing, Repository, Stored, Target, owner, parse
from holdfast.services.backup_gateway.users import Users

_log = structlog.get_logger("holdfast.backup")

HEALTH_PATH = "/-/health"
"""No user can have this name."""
V1, V2 = "application/vnd.x.restic.rest.v1", "application/vnd.x.restic.rest.v2"
REMOVAL_S = 3.0
"""A removal must be over this soon after the client was seen waiting for it."""
WRITE_BYTES = 1 << 20
"""Uploads go to the back-end in pieces of about this size."""
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Refused(Exception):
    """The request gets this answer."""

    def __init__(self, status: int, reason: str = "", *headers: tuple[str, str], close: bool = False) -> None:
        super().__init__(status, reason)
        text = f"{reason}\n".encode() if reason else b""
        self.response = Response(
            status, text, headers=[*headers, ("content-type", "text/plain; charset=utf-8")], close=close
        )


class RestProtocol:
    """Answers requests (http.Handler)."""

    def __init__(self, backend: Backend, users: Users, health: Health, clock: Clock, *, append_only: bool) -> None:
        self._backend = backend
        self._users = users
        self._health = health
        self._clock = clock
        self._append_only = append_only
        self._stored = 0
        """Files published since the start."""

    async def __call__(self, request: Request) -> Response:
        try:
            if request.path == HEALTH_PATH:
                return await self._tell_health(request)
            user, target = await self._admit(request)
            if problem := await self._health.known():
                raise Refused(503, problem, ("retry-after", "1"))
            return await self._dispatch(request, user, target)
        except Refused as refused:
            return refused.response
        except ClientGone:
            raise
        except Missing as error:
            return Refused(404, error.message).response
        except HoldfastError as error:
            _log.warning("request failed", method=request.method, path=request.path, error=str(error))
            status = error.http_status if error.http_status in (503, 507) else 500
            return Refused(status, error.message).response

    async def _tell_health(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, "", ("allow", "GET, HEAD"), close=True)
        problem = await self._health.problem()
        body = json.dumps({"status": problem or "ok", "full": self._health.full, "stored": self._stored}).encode()
        return Response(503 if problem else 200, body, headers=[("content-type", "application/json")])

    async def _admit(self, request: Request) -> tuple[BackupUser, Target]:
        user = await self._users.authenticate(request.headers.get("authorization", ""))
        if user is None:
            challenge = ("www-authenticate", 'Basic realm="backup", charset="UTF-8"')
            raise Refused(401, "wrong user name or password", challenge, close=True)
        try:
            target = parse(unquote(request.path, errors="strict"))
        except UnicodeDecodeError:
            target = None
        if target is None:
            raise Refused(404, "no such thing", close=True)
        if owner(target) != user.name:
            raise Refused(403, f"repositories of {user.name} are below /{user.name}/", close=True)
        return user, target

    async def _dispatch(self, request: Request, user: BackupUser, target: Target) -> Response:
        method = request.method
        if isinstance(target, Repository):
            return await self._repository(request, user, target)
        if isinstance(target, Listing):
            if method not in ("GET", "HEAD"):
                raise Refused(405, "", ("allow", "GET, HEAD"))
            return await self._list(request, target)
        match method:
            case "GET" | "HEAD":
                return await self._get(request, target)
            case "POST":
                return await self._store(request, target)
            case "DELETE":
                return await self._remove(request, user, target)
            case _:
                raise Refused(405, "", ("allow", "GET, HEAD, POST, DELETE"))

    async def _repository(self, request: Request, user: BackupUser, target: Repository) -> Response:
        if request.method == "DELETE":
            if self._append_only or user.append_only:
                raise Refused(403, "append-only")
            raise Refused(501, "whole repositories are removed at the back-end")
        if request.method != "POST":
            raise Refused(405, "", ("allow", "POST, DELETE"))
        if parse_qs(request.query).get("create") != ["true"]:
            raise Refused(400, "only ?create=true")
        await self._backend.create(target.repository)
        return Response(200)

    async def _list(self, request: Request, target: Listing) -> Response:
        entries = await self._backend.entries(target.repository, target.kind)
        second = V2 in request.headers.get("accept", "")
        lines: list[object] = [{"name": e.name, "size": e.size} if second else e.name for e in entries]
        body = await asyncio.to_thread(lambda: json.dumps(lines).encode())  # of a large repository: some seconds' work
        return Response(200, body, headers=[("content-type", V2 if second else V1)])

    async def _get(self, request: Request, target: Stored) -> Response:
        size = await self._backend.size(target)
        headers = [("content-type", "application/octet-stream"), ("accept-ranges", "bytes")]
        if request.method == "HEAD":
            return Response(200, length=size, headers=headers)
        wanted = requested_range(request.headers.get("range", ""), size)
        if wanted is None:
            return Response(200, self._backend.read(target, 0, size), size, headers)
        start, length = wanted
        if length <= 0:
            raise Refused(416, "", ("content-range", f"bytes */{size}"))
        headers.append(("content-range", f"bytes {start}-{start + length - 1}/{size}"))
        return Response(206, self._backend.read(target, start, length), length, headers)

    async def _store(self, request: Request, target: Stored) -> Response:
        digest = hashlib.sha256()
        published = await self._backend.store(target, _verified(request, digest, target.name))
        if published:
            self._stored += 1
            return Response(200)
        # A retry whose first attempt succeeded finds its own file. It is told so only if that file is really good.
        there = hashlib.sha256()
        async for chunk in self._backend.read(target, 0, await self._backend.size(target)):
            there.update(chunk)
        if there.digest() == digest.digest():
            return Response(200)
        if target.kind == CONFIG:
            raise Refused(403, "the repository has another configuration already")
        _log.error("a stored file is damaged", file=target.path)
        raise Refused(409, f"{target.path} is there already, and is damaged")

    async def _remove(self, request: Request, user: BackupUser, target: Stored) -> Response:
        if (self._append_only or user.append_only) and target.kind != "locks":
            raise Refused(403, "append-only")
        asked = self._clock.now()  # before: the acknowledgement may be as old as the question
        if not await request.present():
            _log.warning("a removal was asked for by a client that has gone", file=target.path)
            raise ClientGone
        await self._backend.remove(target, lambda: self._clock.now() - asked < REMOVAL_S)
        return Response(200)


async def _verified(request: Request, digest: "hashlib._Hash", name: str) -> AsyncIterator[bytes]:
    """The body in larger pieces. Ends with Refused if it is not what its name says, and with ClientGone if its client does
    not wait for it any more: the back-end then publishes nothing. (A file that its client has stored and removed elsewhere
    in the meantime, a lock or a forgotten snapshot, must not come back.)"""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.body:
        digest.update(piece)
        pieces.append(piece)
        size += len(piece)
        if size >= WRITE_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)
    if name and digest.hexdigest() != name:
        raise Refused(400, "the content is not what its name says")
    if not await request.present():
        _log.warning("an upload was finished for a client that has gone", name=name)
        raise ClientGone


def requested_range(header: str, size: int) -> tuple[int, int] | None:
    """(start, length) of a Range header; None: the whole file (also for what RFC 9110 lets a server ignore); length ≤ 0: it
    cannot be satisfied."""
    match = _RANGE.fullmatch(header.strip())
    if not match or match[0] == "bytes=-":
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        return size - length, length
    start = int(match[1])
    if match[2] and int(match[2]) < start:
        return None
    end = min(int(match[2]), size - 1) if match[2] else size - 1
    return start, end - start + 1
