"""The contract of the Driver port for parts of S3 clusters, with real Swift, in a network namespace of its own. Needs root.

The same sentences as tests/contract/test_driver.py, which runs drivers over a fake Runner, and what only servers can show.
"""

import asyncio
import os
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from _pytest.outcomes import Failed
from s3_nodes import (
    GATEWAY,
    HANG_S,
    LATER,
    OBJECTS,
    PORT,
    Bench,
    bench,
    directory,
    eventually,
    insist,
    network,
    storage,
)

from holdfast.services.s3.client import Denied, NoAnswer, S3Client
from holdfast.services.s3.config import OBJECT_PORT, with_server
from holdfast.services.s3.layout import PROBE_PATH

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

KEYS = [f"key{number}" for number in range(12)]


@pytest.fixture
def base() -> Iterator[Path]:
    with network(), directory() as path:
        yield path


@pytest.fixture
async def s3(base: Path) -> AsyncIterator[Bench]:
    async with bench(base) as made:
        yield made


async def fill(client: S3Client) -> dict[str, bytes]:
    """A bucket with an object on every server, most likely."""
    await insist(client.make_bucket, "bucket")
    content = {key: f"content of {key}".encode() for key in KEYS}
    for key, data in content.items():
        await insist(client.put, "bucket", key, data)
    return content


async def whole(client: S3Client, content: dict[str, bytes]) -> None:
    """Every object is readable and listed."""
    for key, data in content.items():
        assert await asyncio.to_thread(client.get, "bucket", key) == data
    assert set(await asyncio.to_thread(client.listing, "bucket")) == set(content)


async def test_servers_move_and_nothing_is_lost_or_denied(s3: Bench) -> None:
    """All of a small cluster's failures in one run, for Swift's starts are what takes the time."""
    client = s3.add_user("alice")
    await s3.start_all("a")
    assert {part: await s3.health(part) for part in s3.parts} == dict.fromkeys(s3.parts, "")
    content = await fill(client)
    await whole(client, content)

    await put_while_the_name_server_is_away(s3, client)

    # An object server is gone: 503 for what it has, nothing is denied, nothing is written elsewhere.
    await s3.stop("os-1")
    assert "not healthy" in await s3.health("os-1")
    refused = [key for key in KEYS if not await written(client, key, b"new")]
    assert refused
    assert len(refused) < len(KEYS)
    assert await s3.health("gw-n1") == ""
    await s3.start("os-1", "b")
    content |= {key: b"new" for key in KEYS if key not in refused}
    await eventually(lambda: whole(client, content))

    # Both name servers are gone: 503, never "no such bucket".
    for part in s3.cluster.name_servers:
        await s3.stop(part)
    for key in KEYS[:3]:
        assert not await written(client, key, b"newer")
    for part in s3.cluster.name_servers:
        await s3.start(part, "b")
    await eventually(lambda: whole(client, content))

    await users_come_and_go(s3, client)
    await strangers_are_refused()

    await parts_of_no_object_are_removed(s3, client)
    await what_is_older_is_not_acknowledged(s3, client)

    # One more object server takes devices over; nothing is copied, nothing is missing.
    s3.cluster = with_server(s3.cluster, "os", storage(LATER))
    await s3.start("os-3", "b")
    await s3.tick()
    await s3.tick()
    roots = {part: s3.base / "shared/s3/main" / part / "dev" for part in s3.cluster.object_servers}
    found = {part: {entry.name for entry in root.iterdir()} for part, root in roots.items()}
    assert found == {part: set(server.devices) for part, server in s3.cluster.object_servers.items()}
    await eventually(lambda: whole(client, content))
    await eventually(lambda: listed(client, "late"))


async def listed(client: S3Client, key: str) -> None:
    assert key in await asyncio.to_thread(client.listing, "updates")


async def written(client: S3Client, key: str, data: bytes) -> bool:
    """Whether it was acknowledged. A refusal that clients do not repeat is raised."""
    try:
        await asyncio.to_thread(client.put, "bucket", key, data)
    except NoAnswer as error:
        assert error.kind.startswith("503")
        return False
    return True


LATE = """
import sys
from holdfast.services.s3.inside import program
program.load(sys.argv[1])
from swift.common import direct_client
from swift.common.ring import Ring
part, [node] = Ring(sys.argv[1], ring_name="object").get_nodes("AUTH_s3", "updates", "late")
nobody = {"X-Container-Host": "10.99.9.9:6201", "X-Container-Device": "n00", "X-Container-Partition": "0"}
direct_client.direct_put_object(
    node, part, "AUTH_s3", "updates", "late", b"late", headers={"Content-Type": "text/plain", **nobody}
)
"""


async def put_while_the_name_server_is_away(s3: Bench, client: S3Client) -> None:
    """An object server that cannot tell a name server of an object tells it later; the end of the test looks for it."""
    await insist(client.make_bucket, "updates")
    script = (sys.executable, "-c", LATE, s3.base / "a/run/s3/main/gw-n1")
    late = await asyncio.create_subprocess_exec(*script)
    assert await asyncio.wait_for(late.wait(), HANG_S) == 0


async def users_come_and_go(s3: Bench, alice: S3Client) -> None:
    """A gateway that runs learns of them; what is one's is not another's."""
    bob = s3.add_user("bob")
    await s3.tick()
    await eventually(lambda: asyncio.to_thread(bob.make_bucket, "bobs"), Denied)
    with pytest.raises(Denied, match="AccessDenied"):
        await insist(bob.get, "bucket", KEYS[0])
    await asyncio.to_thread(claim_to_be, bob, s3.users["alice"].owner)
    with pytest.raises(Denied, match="AccessDenied"):
        await insist(bob.get, "bucket", KEYS[0])
    s3.users["bob"] = replace(s3.users["bob"], enabled=False)
    await s3.tick()

    async def refused() -> None:
        with pytest.raises(Denied, match="InvalidAccessKeyId"):
            await asyncio.to_thread(bob.put, "bobs", "k", b"")

    await eventually(refused, Failed)
    await insist(alice.get, "bucket", KEYS[0])


def claim_to_be(client: S3Client, owner: str) -> None:
    """From now on it sends the headers by which Swift's own parts tell each other who asks."""

    def add(request: object, **_: object) -> None:
        headers = request.headers  # type: ignore[attr-defined]
        headers["X-User-Name"], headers["X-Tenant-Name"] = owner, "s3"

    client.sdk.meta.events.register("before-send.s3", add)


async def parts_of_no_object_are_removed(s3: Bench, client: S3Client) -> None:
    """Of three multipart uploads one was overwritten, one is an object, and one is still under way."""
    sdk, uploads = client.sdk, {}
    await insist(client.make_bucket, "large")
    for key in ("overwritten", "object", "running"):
        upload = await insist(sdk.create_multipart_upload, Bucket="large", Key=key)
        uploads[key] = {"Bucket": "large", "Key": key, "UploadId": upload["UploadId"]}
        part = await insist(sdk.upload_part, **uploads[key], PartNumber=1, Body=key.encode())
        if key != "running":
            done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
            await insist(sdk.complete_multipart_upload, **uploads[key], MultipartUpload=done)
    await insist(client.put, "large", "overwritten", b"small")
    await s3.start("bg", "b")
    assert await s3.health("bg") == ""
    directory = s3.base / "b/run/s3/main/bg"
    clean = (
        sys.executable,
        "-m",
        "holdfast.services.s3.inside.segments",
        directory,
        directory / "internal-client.conf",
    )
    for removed in ("1", "0"):
        done_by = await asyncio.create_subprocess_exec(*clean, "0", stdout=asyncio.subprocess.PIPE)
        printed, _ = await asyncio.wait_for(done_by.communicate(), HANG_S)
        assert printed.decode().strip() == removed
    await s3.stop("bg")
    assert await insist(client.get, "large", "object") == b"object"
    done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    await insist(sdk.complete_multipart_upload, **uploads["running"], MultipartUpload=done)
    assert await insist(client.get, "large", "running") == b"running"


AHEAD = """
import io, sys, time
from holdfast.services.s3.inside import program
program.load(sys.argv[1])
from swift.common.internal_client import InternalClient
stamp = {"X-Timestamp": f"{time.time() + 3600:.5f}"}
InternalClient(sys.argv[2], "test", 3).upload_object(io.BytesIO(b"ahead"), "AUTH_s3", "clocks", "key", headers=stamp)
"""


async def what_is_older_is_not_acknowledged(s3: Bench, client: S3Client) -> None:
    """An object from a gateway whose clock is ahead: no other gateway says that it has overwritten or deleted it."""
    await insist(client.make_bucket, "clocks")
    directory = s3.base / "b/run/s3/main/bg"
    script = (sys.executable, "-c", AHEAD, directory, directory / "internal-client.conf")
    ahead = await asyncio.create_subprocess_exec(*script)
    assert await asyncio.wait_for(ahead.wait(), HANG_S) == 0
    for change in (partial(client.put, "clocks", "key", b"behind"), partial(client.delete, "clocks", "key")):
        with pytest.raises(NoAnswer, match="503"):
            await asyncio.to_thread(change)


async def strangers_are_refused() -> None:
    """Who is no part of the cluster learns nothing of a server; who does not sign learns nothing of a gateway."""

    def status(url: str) -> int:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert await asyncio.to_thread(status, f"http://{OBJECTS[1]}:{OBJECT_PORT}{PROBE_PATH}") == 403
    assert await asyncio.to_thread(status, f"http://{OBJECTS[1]}:{OBJECT_PORT}/o00/0/AUTH_s3/bucket/{KEYS[0]}") == 403
    assert await asyncio.to_thread(status, f"http://{GATEWAY}:{PORT}/bucket/{KEYS[0]}") in (400, 403)
