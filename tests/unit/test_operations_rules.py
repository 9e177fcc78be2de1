"""Placement rules: what is laid down, and what is refused with which reason."""

from typing import Any

import pytest
from api_world import ROOT, contents, memory_store
from vm_world import FakeImages, with_compute

from holdfast.api.operations import nodes, rules, vm
from holdfast.api.operations.draft import Draft
from holdfast.core.policy import RuleKind, RuleSpec
from holdfast.errors import Conflict, HoldfastError, InvalidInput, NotFound
from holdfast.ports import Store
from holdfast.store import keys


async def with_machines() -> Store:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    for name in ("a", "b", "c"):
        images.files[f"/shared/{name}"] = "raw"
        made = vm.Machine(name, 0.1, 64, disks=(f"/shared/{name}",))
        await vm.create(store, ROOT, images, made, vm.Wish(), lambda _percent: None)
    return store


async def lay(store: Store, name: str, kind: str, instances: str, **more: Any) -> None:
    await rules.create(store, ROOT, name=name, kind=kind, instances=[f"vm/{n}" for n in instances], **more)


async def test_rules_are_laid_down_listed_in_words_and_deleted() -> None:
    store = await with_machines()
    await lay(store, "near", "node-affinity", "a", nodes={"n1": 2, "n2": 1}, strict=False)
    await lay(store, "pair", "affinity", "ab")
    await lay(store, "apart", "anti-affinity", "ac")
    await lay(store, "order", "start-order", "c", after=("vm/a",))
    assert (await Draft.open(store)).spec(keys.rule("order"), RuleSpec) == RuleSpec(
        "order", RuleKind.START_ORDER, ("vm/c",), after=("vm/a",)
    )
    said = [str(each["text"]) for each in await rules.listed(store)]
    assert said == [
        "vm/a and vm/c must not share a node",
        "vm/a should run on n1 (2), n2 (1)",
        "vm/c must start after vm/a",
        "vm/a and vm/b must share a node",
    ]
    await rules.delete(store, ROOT, "pair")
    with pytest.raises(NotFound, match="`pair` does not exist"):
        await rules.delete(store, ROOT, "pair")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("Bad name", "affinity", "ab", {}), "name of a rule"),
        (("pair", "affinity", "ab", {}), "exists already"),
        (("new", "attraction", "ab", {}), "no kind of rule"),
        (("new", "affinity", "a", {}), "two instances or more"),
        (("new", "affinity", "ax", {}), "`vm/x` does not exist"),
        (("new", "node-affinity", "a", {"nodes": {"n9": 1}}), "`n9` does not exist"),
        (("new", "anti-affinity", "ab", {}), "must share a node .* and must not"),
        (("new", "start-order", "a", {"after": ("vm/x",)}), "`vm/x` does not exist"),
    ],
)
async def test_a_rule_that_cannot_be_is_refused(given: tuple[str, str, str, dict[str, Any]], words: str) -> None:
    store = await with_machines()
    await lay(store, "pair", "affinity", "ab")
    before = await contents(store)
    name, kind, instances, more = given
    with pytest.raises(HoldfastError, match=words):
        await lay(store, name, kind, instances, **more)
    assert await contents(store) == before


async def test_apart_by_failure_domain() -> None:
    store = await with_machines()
    await nodes.change(store, ROOT, "n1", failure_domain="rack-a")
    await lay(store, "far", "anti-affinity", "ab", by="domain")
    assert [each["text"] for each in await rules.listed(store)] == ["vm/a and vm/b must not share a failure domain"]
    with pytest.raises(InvalidInput, match="apart by `rack`"):
        await lay(store, "new", "anti-affinity", "ac", by="rack")
    with pytest.raises(Conflict, match="has no `by`"):
        await lay(store, "new", "affinity", "bc", by="domain")
    others = [name for name in (await Draft.open(store)).nodes if name != "n1"]
    for node in others[:-1]:
        await nodes.change(store, ROOT, node, failure_domain="rack-a", force=True)
    with pytest.raises(Conflict, match="must run in different failure domains"):
        await nodes.change(store, ROOT, others[-1], failure_domain="rack-a")


async def test_a_circle_of_start_orders_is_refused() -> None:
    store = await with_machines()
    await lay(store, "first", "start-order", "b", after=("vm/a",))
    with pytest.raises(Conflict, match="cannot be kept"):
        await lay(store, "second", "start-order", "a", after=("vm/b",))
