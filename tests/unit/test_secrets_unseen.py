"""Secrets are shown by nothing that looks, to nobody: neither by the API, nor in the audit, nor in the store."""

import itertools
import re
from pathlib import Path
from urllib.parse import quote

from fuzz_world import KNOWN, populated
from people_world import PASSWORD, Panel

from holdfast.api.permissions import TABLE

SLOW = ("/stream", "/dns/test")
"""One never ends, the other asks name servers."""


def paths() -> list[str]:
    """Every GET with everything that exists in place of its parameters."""
    found = []
    for route in TABLE:
        method, _, template = route.partition(" ")
        if method != "GET" or template in SLOW:
            continue
        names = [name.removesuffix(":path") for name in re.findall(r"\{([^}]+)\}", template)]
        for values in itertools.product(*(KNOWN[name] for name in names)):
            path = template.replace(":path}", "}")
            for name, value in zip(names, values, strict=True):
                path = path.replace(f"{{{name}}}", quote(value))
            found.append(f"{path}?fail=n1" if path == "/planner/what-if" else path)
    return found


async def shown(world: Panel, who: str) -> str:
    token = await world.token(who)
    texts = []
    async with world.client(token=token) as client:
        for path in paths():
            answer = await client.get(f"/api/v1{path}")
            assert answer.status_code < 500, (path, answer.text)
            texts.append(f"{path}: {answer.text}")
    return "\n".join(texts)


async def test_whoever_looks_sees_no_secret(tmp_path: Path) -> None:
    async with populated(tmp_path) as (world, secrets):
        for who in ("vera", "otto", "ada"):
            text = await shown(world, who)
            assert "10.78.0.101" in text, "it was looked at something"
            for what, secret in secrets.items():
                found = text.find(secret)
                assert found < 0, f"{who} is shown the secret of {what}: {text[max(0, found - 300) : found + 50]}"
        assert '"secret": "(hidden)"' in text.replace('":"', '": "'), "the audit says that a secret was changed"
        everything = "\n".join(
            f"{entry.key} {entry.value.decode()}"
            for entry in (await world.context.store.list("")).entries
            if not entry.key.startswith("users/")
        )
        for what, secret in {**secrets, "password": PASSWORD}.items():
            assert secret not in everything, f"the store holds the secret of {what} in clear"
