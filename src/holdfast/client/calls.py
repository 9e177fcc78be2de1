"""What all calls share."""

from collections.abc import Mapping
from typing import Any, TypedDict, TypeVar, Unpack

import msgspec

from holdfast.client.errors import ApiUnreachable
from holdfast.client.transport import Api

T = TypeVar("T")


class Tried(TypedDict, total=False):
    """How a change is asked for."""

    dry_run: bool
    """Check everything, change nothing."""
    idempotency_key: str
    """One of the caller's own, so that a repeat by another process is answered, not done."""


class Terms(Tried, total=False):
    if_match: str
    """The ETag (`Client.etag`) that the object must still have; `*`: it must exist."""


def given(**values: object) -> dict[str, object]:
    """Without what is None: the API has a default for that."""
    return {name: value for name, value in values.items() if value is not None}


class Calls:
    """Answers as dataclasses."""

    def __init__(self, api: Api) -> None:
        self.api = api

    @property
    def etag(self) -> str:
        """Of the last answer; empty where it is of no single object."""
        return self.api.headers.get("etag", "")

    def ask(
        self,
        kind: type[T],
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        **terms: Unpack[Terms],
    ) -> T:
        """Raises ApiRefused, ApiUnreachable, NotPermitted."""
        asked = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in (query or {}).items()
        }
        if terms.get("dry_run"):
            asked["dry_run"] = "true"
        sent = {"Idempotency-Key": terms.get("idempotency_key", ""), "If-Match": terms.get("if_match", "")}
        headers = {name: value for name, value in sent.items() if value}
        content: Any = self.api.call(method, path, body, asked, headers=headers)
        try:
            return msgspec.convert(content, kind)
        except msgspec.ValidationError as error:
            raise ApiUnreachable(
                f"{self.api.where} answers something else than a {kind}: {error}",
                "Use a client of the cluster's version.",
            ) from error
