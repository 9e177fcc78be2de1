"""The OpenAPI document: FastAPI's routes and bodies, completed by what the contract says of answers, and by what all routes
share (who may ask, dry runs, idempotency, tags, problems).

Built at the first request for it: a panel that takes over serves sooner without.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from holdfast.api import objects
from holdfast.api.answers import Problem
from holdfast.api.auth import COOKIE
from holdfast.api.contract import STREAM, TABLE
from holdfast.api.openapi_parameters import explain
from holdfast.api.operations.terms import Outcome
from holdfast.api.permissions import PUBLIC, needed

SAFE = ("get", "head")
REF = "#/components/schemas/{name}"
NO_CHANGES = ("login", "logout", "join", "test_receiver", "test_fence_devices")
"""They change nothing of the cluster's settings, or are asked for by nobody that is known: no terms."""
ACCEPTED = ("create_vm",)
"""Answer 202 as well: a task goes on."""
DESCRIPTION = """The API of a Holdfast cluster: what its panel and its command line use.

Every node of the management plane serves it, at the panel's own address too. All changes are checked, and committed in one
transaction. See docs/api.md for what is true of all operations."""


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document; each operation must have its line in the contract."""
    made = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    types = [kind for _, kind in TABLE.values() if kind is not STREAM]
    found, shapes = msgspec.json.schema_components([Problem, *types], ref_template=REF)
    problem, schemas = found[0], dict(zip([repr(kind) for kind in types], found[1:], strict=True))
    for path, item in made["paths"].items():
        for method, operation in item.items():
            name, kind = TABLE[f"{method.upper()} {path.removeprefix(objects.PREFIX)}"]
            _complete(operation, method, path, name)
            _describe_answers(operation, method, path, schemas.get(repr(kind)), problem)
    components = made.setdefault("components", {})
    bodies = {
        k: v for k, v in components.get("schemas", {}).items() if k not in ("HTTPValidationError", "ValidationError")
    }
    _tell_fields(shapes, [Problem, *types])
    components["schemas"] = {**bodies, **_always_there(shapes)}
    components["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token, or the token that `login` answers.",
        },
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    }
    made["tags"] = [{"name": tag} for tag in sorted({_tag(path) for path in made["paths"]})]
    return _plain_names(made)


def _complete(operation: dict[str, Any], method: str, path: str, name: str) -> None:
    needs = sorted(needed(method.upper(), path))
    operation["operationId"] = name
    operation["summary"] = name.replace("_", " ").capitalize()
    operation["tags"] = [_tag(path)]
    operation["x-holdfast-needs"] = needs
    operation["security"] = [] if needs == [PUBLIC] else [{"token": []}, {"session": []}]
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        explain(parameter)
    if method in SAFE or name in NO_CHANGES:
        return
    parameters.append(
        _parameter("query", "dry_run", {"type": "boolean", "default": False}, "Check everything, change nothing.")
    )
    text = (
        "The request may be repeated with the same key within a day: it is done once, and answered as the first time."
    )
    parameters.append(_parameter("header", "Idempotency-Key", {"type": "string", "maxLength": 255}, text))
    if objects.keys_of(path):
        text = "Only if the object still has this ETag; `*`: only if it exists."
        parameters.append(_parameter("header", "If-Match", {"type": "string"}, text))


def _parameter(where: str, name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"in": where, "name": name, "required": False, "schema": schema, "description": text}


def _describe_answers(
    operation: dict[str, Any], method: str, path: str, schema: dict[str, Any] | None, problem: dict[str, Any]
) -> None:
    status = next(iter(operation["responses"]))
    content = (
        {"application/json": {"schema": schema}} if schema else {"text/event-stream": {"schema": {"type": "string"}}}
    )
    good: dict[str, Any] = {"description": "Done." if method not in SAFE else "As it is.", "content": content}
    if method == "get" and objects.keys_of(path):
        good["headers"] = {
            "ETag": {"schema": {"type": "string"}, "description": "Of the object's settings, for If-Match."}
        }
    if schema == _reference(Outcome):
        text = "`true`: the request came before, and this is its first answer."
        good["headers"] = {"Idempotency-Replayed": {"schema": {"type": "string"}, "description": text}}
    bad = {"description": "A problem.", "content": {"application/problem+json": {"schema": problem}}}
    answers = {status: good, "4XX": bad, "5XX": bad}
    if operation["operationId"] in ACCEPTED:
        answers["202"] = {**good, "description": "Begun: the task tells how far it is."}
    operation["responses"] = answers


def _reference(kind: type) -> dict[str, str]:
    return {"$ref": REF.format(name=kind.__name__)}


def _tag(path: str) -> str:
    return path.removeprefix(f"{objects.PREFIX}/").partition("/")[0]


def _always_there(shapes: dict[str, Any]) -> dict[str, Any]:
    """Answers leave nothing out (store/codec.py), whatever has a default; problems leave out what is not theirs."""
    for name, shape in shapes.items():
        if "properties" in shape and name != Problem.__name__:
            shape["required"] = list(shape["properties"])
            for field in shape["properties"].values():
                field.pop("default", None)
    return shapes


def _tell_fields(shapes: dict[str, Any], types: list[Any]) -> None:
    """The sentences that stand below the fields of the shapes."""
    for kind in _dataclasses(types):
        if not isinstance(kind, type):
            continue  # a page of something
        shape = shapes.get(kind.__name__) or shapes.get(f"{kind.__module__}.{kind.__qualname__}")
        for name, text in _sentences(kind):
            if shape is not None and name in shape.get("properties", {}):
                field = shape["properties"][name]
                shape["properties"][name] = {"allOf": [field], "description": text} if "$ref" in field else {
                    **field, "description": text
                }  # fmt: skip


def _dataclasses(types: list[Any]) -> set[type]:
    """All that occur in these types."""
    found: set[type] = set()
    rest: list[Any] = list(msgspec.inspect.multi_type_info(types))
    while rest:
        info = rest.pop()
        if isinstance(info, msgspec.inspect.DataclassType):
            if info.cls in found:
                continue
            found.add(info.cls)
            rest += [field.type for field in info.fields]
        for part in ("item_type", "key_type", "value_type"):
            rest += [getattr(info, part)] if isinstance(getattr(info, part, None), msgspec.inspect.Type) else []
        rest += [*getattr(info, "types", ()), *(getattr(info, "item_types", None) or ())]
    return found


def _sentences(kind: type) -> Iterator[tuple[str, str]]:
    for owner in reversed(kind.__mro__[:-1]):
        try:
            [made] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        except (OSError, TypeError, ValueError):
            continue  # not ours
        body = made.body if isinstance(made, ast.ClassDef) else []
        for field, text in pairwise(body):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
                yield field.target.id, inspect.cleandoc(str(text.value.value))  # type: ignore[attr-defined]


def _plain_names(made: dict[str, Any]) -> dict[str, Any]:
    """`holdfast.api.operations.s3_picture.Line` → `S3PictureLine`: what several modules name alike."""
    text = msgspec.json.encode(made).decode()
    for name in made["components"]["schemas"]:
        if "." in name:
            *_, module, kind = name.split(".")
            plain = "".join(word.capitalize() for word in module.split("_")) + kind
            text = text.replace(f'"{name}"', f'"{plain}"').replace(f'/{name}"', f'/{plain}"')
    found: dict[str, Any] = msgspec.json.decode(text)
    return found
