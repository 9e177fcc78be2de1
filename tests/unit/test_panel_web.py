"""The panel's routes: who gets which page, what may be cached, and that nothing needs or allows anything from elsewhere."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from holdfast.api.app import create_app
from holdfast.api.auth import COOKIE
from holdfast.api.context import ApiContext, make_context
from holdfast.bootstrap.users import make_user
from holdfast.clock import SystemClock
from holdfast.panel.assets import ROOT, Assets
from holdfast.panel.web import mount
from holdfast.ports import Put
from holdfast.store import codec, keys
from holdfast.store.memory import MemoryCluster, MemoryStore

PASSWORD = "correct horse battery"
TEXTS = sorted(path for path in ROOT.parent.rglob("*") if path.suffix in {".html", ".js", ".css"})


@pytest.fixture
async def context() -> ApiContext:
    clock = SystemClock()
    store = MemoryStore(MemoryCluster(clock), clock)
    await store.txn([], [Put(keys.user("admin"), codec.encode(make_user("admin", PASSWORD)))])
    return make_context("n1", store, clock, session="s1")


@pytest.fixture
async def client(context: ApiContext) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(context)
    mount(app, context)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://panel.test") as made:
        yield made


async def sign_in(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/login", json={"name": "admin", "password": PASSWORD})
    assert answer.status_code == 200


async def test_a_stranger_is_led_to_the_sign_in(client: httpx.AsyncClient) -> None:
    for headers in ({}, {"cookie": f"{COOKIE}=forged"}):
        answer = await client.get("/", headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    page = await client.get("/login")
    assert page.status_code == 200
    assert "served by n1" in page.text


async def test_who_is_signed_in_gets_the_page_and_not_the_form(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    page = await client.get("/")
    assert page.status_code == 200
    assert 'data-node="n1"' in page.text
    assert (await client.get("/login")).headers["location"] == "/"


async def test_the_page_is_shown_while_the_store_is_away(client: httpx.AsyncClient, context: ApiContext) -> None:
    assert isinstance(context.store, MemoryStore)
    context.store.faults.unavailable = True
    assert (await client.get("/", headers={"cookie": f"{COOKIE}=perhaps-right"})).status_code == 200


async def test_pages_are_strict_and_never_kept(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    for path in ("/", "/login"):
        headers = (await client.get(path, follow_redirects=True)).headers
        assert "unsafe" not in headers["content-security-policy"]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers.get_list("x-holdfast-node") == ["n1"]


async def test_files_are_kept_for_ever_under_their_version_only(client: httpx.AsyncClient) -> None:
    version = Assets().version
    kept = await client.get(f"/static/{version}/js/app.js")
    assert "immutable" in kept.headers["cache-control"]
    assert kept.headers["content-encoding"] == "gzip"
    assert kept.content == (ROOT / "js/app.js").read_bytes()
    plain = await client.get(f"/static/{version}/js/app.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    other = await client.get("/static/0123456789ab/js/app.js")
    assert other.headers["cache-control"] == "no-cache"
    font = await client.get(f"/static/{version}/vendor/inter-latin-wght-normal.woff2")
    assert font.headers["content-type"] == "font/woff2"


@pytest.mark.parametrize(
    "name", ["", "nothing.js", "../web.py", "..%2fweb.py", "%2fetc%2fpasswd", "vendor/README", "js"]
)
async def test_nothing_else_can_be_read(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/static/{Assets().version}/{name}", follow_redirects=True)
    assert answer.status_code == 404
    assert "import" not in answer.text


async def test_every_file_that_a_page_names_exists(client: httpx.AsyncClient) -> None:
    names = re.findall(r'(?:href|src)="(/static/[^"#]+)', (await client.get("/login")).text)
    await sign_in(client)
    names += re.findall(r'(?:href|src)="(/static/[^"#]+)', (await client.get("/")).text)
    assert len(names) > 5
    for name in names:
        assert (await client.get(name)).status_code == 200


LOADS = "|".join(
    (
        r"""(?:src|href|action)\s*[=:]\s*["'`]?""",
        r"""url\(["']?""",
        r"""import\(?\s*["'`]|from\s+["'`]""",
        r"""(?:fetch|call|open|assign)\([^)]*["'`]""",
    )
)
"""What an address stands behind that is fetched. (Fields of forms show addresses as examples.)"""


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_sources_fit_the_policy_and_stay_short(path: Path) -> None:
    text = path.read_text()
    assert not re.search(rf"(?:{LOADS})(?:https?:)?//", text), "nothing is loaded from elsewhere"
    assert len(text.splitlines()) < 400
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text), "no inline script or style"
    if path.suffix == ".js":
        assert "innerHTML" not in text, "texts are never markup"


def test_every_icon_in_use_is_drawn() -> None:
    drawn = set(re.findall(r'symbol id="([\w-]+)"', (ROOT / "icons.svg").read_text()))
    used: set[str] = set()
    for path in TEXTS:
        for pair in re.findall(r'icon\((?:static, )?"([\w-]+)"|icon: "([\w-]+)"', path.read_text()):
            used |= {name for name in pair if name}
    assert used
    assert used <= drawn
