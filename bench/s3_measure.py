"""Run by bench/s3.py where the client is: reads a plan from standard input, puts and gets objects one after another, and
prints one JSON line per target, load and round with the seconds that each request took.

{"targets": {name: {"endpoint", "keys", "path_style"}}, "loads": {name: [bytes, requests]}, "rounds": n}
"""

import json
import os
import sys
import time
from collections.abc import Callable

from holdfast.services.s3.client import S3Client, read_keys

BUCKET = "bench"
TIMEOUT_S = 30.0


def timed(ask: Callable[[int], object], count: int) -> list[float]:
    """Seconds of each."""
    took = []
    for number in range(count):
        began = time.perf_counter()
        ask(number)
        took.append(time.perf_counter() - began)
    return took


def main() -> None:
    plan = json.load(sys.stdin)
    clients = {
        name: S3Client(
            target["endpoint"], *read_keys(target["keys"]), timeout_s=TIMEOUT_S, path_style=target["path_style"]
        )
        for name, target in plan["targets"].items()
    }
    for client in clients.values():
        client.make_bucket(BUCKET)
        client.put(BUCKET, "first", b"")
    for number in range(plan["rounds"]):
        for load, (size, count) in plan["loads"].items():
            data = os.urandom(size)
            order = list(clients)[:: 1 if number % 2 else -1]  # each is first as often
            for name in order:
                client = clients[name]
                put = timed(lambda i, c=client, d=data, n=load: c.put(BUCKET, f"{n}-{i}", d), count)  # type: ignore[misc]
                get = timed(lambda i, c=client, n=load: c.get(BUCKET, f"{n}-{i}"), count)  # type: ignore[misc]
                line = {"round": number, "load": load, "target": name, "put": put, "get": get}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
