"""The panel's routes: `/`, `/login` and `/static/<version>/<file>`.

The pages are nearly empty shells: everything about the cluster comes from the API, live. So a shell can be sent even while
the store is away, and holds nothing secret. What every answer says to browsers is added by `holdfast.api.limits`.
"""

from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from holdfast.api.auth import COOKIE, NotLoggedIn
from holdfast.api.context import ApiContext
from holdfast.errors import StoreError
from holdfast.panel.assets import Assets


def mount(app: FastAPI, context: ApiContext) -> None:
    """Add the panel to the application that serves the API."""
    pages = _Pages(context)
    app.add_api_route("/", pages.index, methods=["GET"], include_in_schema=False, response_model=None)
    app.add_api_route("/login", pages.login, methods=["GET"], include_in_schema=False, response_model=None)
    app.add_api_route(
        "/static/{version}/{name:path}", pages.static, methods=["GET"], include_in_schema=False, response_model=None
    )


class _Pages:
    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._assets = Assets()
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
        )

    async def index(self, request: Request) -> Response:
        """The page, or the way to the sign-in form."""
        if await self._signed_out(request):
            return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        return self._page("index.html")

    async def login(self, request: Request) -> Response:
        """The sign-in form, or the way to the page for somebody who is signed in."""
        if request.cookies.get(COOKIE) and not await self._signed_out(request):
            return RedirectResponse("/", HTTPStatus.SEE_OTHER)
        return self._page("login.html", expired="expired" in request.query_params)

    async def static(self, request: Request, version: str, name: str) -> Response:
        """A file. The version in the path only makes it cacheable for ever; another version's page gets what is here."""
        asset = self._assets.get(name)
        if asset is None:
            return Response("There is no such file.\n", HTTPStatus.NOT_FOUND, media_type="text/plain")
        known = version == self._assets.version
        headers = {
            "Content-Type": asset.content_type,
            "Cache-Control": "public, max-age=31536000, immutable" if known else "no-cache",
            "Vary": "Accept-Encoding",
        }
        if asset.zipped and "gzip" in request.headers.get("Accept-Encoding", ""):
            return Response(asset.zipped, headers={**headers, "Content-Encoding": "gzip"})
        return Response(asset.content, headers=headers)

    async def _signed_out(self, request: Request) -> bool:
        """Whether the visitor certainly is not signed in. While the store is away that may not be known: then the page is
        shown, and the API decides."""
        token = request.cookies.get(COOKIE)
        if not token:
            return True
        try:
            await self._context.auth.whose_session(token)
        except NotLoggedIn:
            return True
        except StoreError:
            return False
        return False

    def _page(self, template: str, **values: object) -> Response:
        text = self._templates.get_template(template).render(
            cluster=self._context.cache.status.cluster.name or "cluster",
            node=self._context.node,
            static=f"/static/{self._assets.version}",
            sheets=self._assets.sheets,
            preload=self._assets.imports("js/app.js", "js/pages/overview.js") if template == "index.html" else (),
            **values,
        )
        return HTMLResponse(text, headers={"Cache-Control": "no-store"})
