#!/usr/bin/env python3
"""What a panel process pays for its readers: its processor time with many open streams while the cluster changes.

    .venv/bin/python bench/api_streams.py --streams 200 --rate 200 --changes 5

A cluster of 16 nodes and 300 instances in memory, served over TLS in this process; the readers are another process.
"""

import argparse
import asyncio
import json
import resource
import socket
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "unit"))

from api_world import build, memory_store, put  # noqa: E402

from holdfast.api.app import Local, create_app  # noqa: E402
from holdfast.api.context import make_context  # noqa: E402
from holdfast.api.server import make_server, tls_context  # noqa: E402
from holdfast.bootstrap import pki  # noqa: E402
from holdfast.clock import SystemClock  # noqa: E402
from holdfast.config import Tls  # noqa: E402
from holdfast.core.model import (  # noqa: E402
    Exclusivity,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    Placement,
    Role,
    ServiceSpec,
)
from holdfast.ports import Store  # noqa: E402
from holdfast.store import keys  # noqa: E402

NODES, INSTANCES = 16, 300
WARM_S, MEASURED_S = 5.0, 10.0


async def fill(store: Store) -> None:
    await build(store, nodes=NODES)
    for number in range(INSTANCES):
        name, node = f"vm-{number}", f"n{number % NODES + 1}"
        spec = InstanceSpec(f"vm/{name}", "vm", name, Exclusivity.STRICT, Role.COMPUTE, cpu=1, memory_mib=1024)
        values = {
            keys.instance(spec.id): spec,
            keys.service("vm", name): ServiceSpec("vm", name),
            keys.placement(spec.id): Placement(node, 7, 1),
            keys.status(spec.id): InstanceStatus(node, f"s{node[1:]}", 7, InstanceState.RUNNING, healthy=True),
        }
        await put(store, values)


async def change(store: Store, rate: float) -> None:
    epoch = 7
    while rate:
        await asyncio.sleep(1 / rate)
        epoch += 1
        await put(store, {keys.placement("vm/vm-0"): Placement("n1", epoch, 1)})


async def run(options: argparse.Namespace) -> None:
    store = memory_store()
    await fill(store)
    context = make_context("n1", store, SystemClock(), session="s")
    authority = pki.create_authority("bench")
    with tempfile.TemporaryDirectory() as directory:
        files = [Path(directory) / name for name in ("ca", "cert", "key")]
        cert, key = pki.issue_node(authority, "n1", ["127.0.0.1"])
        for file, content in zip(files, (authority.cert_pem, cert, key), strict=True):
            file.write_bytes(content)
        tls = tls_context(Tls(*(str(file) for file in files)))
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        server = make_server(Local(create_app(context)), tls)
        serving = [context.cache.run(), server.serve([listener]), change(store, options.changes)]
        tasks = [asyncio.create_task(work) for work in serving]
        words = [
            "127.0.0.1",
            str(listener.getsockname()[1]),
            "--streams",
            str(options.streams),
            "--rate",
            str(options.rate),
        ]
        load = [sys.executable, str(ROOT / "bench" / "api_load.py"), *words]
        readers = await asyncio.create_subprocess_exec(*load, stdout=asyncio.subprocess.PIPE)
        await asyncio.sleep(WARM_S)
        before = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.sleep(MEASURED_S)
        after = resource.getrusage(resource.RUSAGE_SELF)
        readers.terminate()
        said = [json.loads(line) for line in (await readers.communicate())[0].splitlines()][-int(MEASURED_S) :]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    used = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / MEASURED_S
    mean = {name: sum(line[name] for line in said) / len(said) for name in ("open", "pictures", "answers")}
    each = used * 1000 / max(1.0, mean["pictures"] + mean["answers"])
    print(
        f"{mean['open']:.0f} streams open, {mean['pictures']:.0f} pictures/s, {mean['answers']:.0f} answers/s: "
        f"{100 * used:.0f} % of a core in the panel process, "
        f"{each:.2f} ms each"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--changes", type=float, default=5.0)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
