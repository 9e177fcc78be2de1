"""The journal of S3 objects finds what a store does to acknowledged objects, and repeats what is not served."""

import hashlib
import io
import json
from collections.abc import Callable

import pytest

from holdfast.services.s3.client import Denied, Gone, NoAnswer
from holdfast.services.s3.journal import FINDINGS, Journal, Lane, content, judge, lanes_of

BUCKET, KEYS = "b", ("one", "two")


class Store:
    """Objects in memory; `refuse` is asked before each request and may raise."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.listed: dict[str, tuple[int, str]] | None = None
        self.refuse: Callable[[], None] = lambda: None

    def make_bucket(self, bucket: str) -> None:
        self.refuse()

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.refuse()
        self.objects[key] = data

    def get(self, bucket: str, key: str) -> bytes:
        self.refuse()
        if key not in self.objects:
            raise Gone(key)
        return self.objects[key]

    def delete(self, bucket: str, key: str) -> None:
        self.refuse()
        self.objects.pop(key, None)

    def listing(self, bucket: str) -> dict[str, tuple[int, str]]:
        if self.listed is not None:
            return self.listed
        return {key: (len(data), hashlib.md5(data).hexdigest()) for key, data in self.objects.items()}


def written(store: Store, requests: int = 3) -> Journal:
    """A journal that was stopped after so many requests."""
    journal = Journal(store, [Lane("lane", BUCKET, KEYS)], io.StringIO())

    class Counting(io.StringIO):
        def write(self, text: str) -> int:
            if journal.acked >= requests:
                journal.stop.set()
            return super().write(text)

    journal.out = Counting()
    journal.prepare()
    journal.write(0.001)
    return journal


def found(journal: Journal) -> dict[str, set[str]]:
    return {kind: keys for kind, keys in journal.found.items() if keys}


def test_nothing_is_wrong_with_a_store_that_keeps_everything() -> None:
    journal = written(Store(), 20)
    journal.verify(0.0)
    assert found(journal) == {}
    summary = journal.summary()
    assert summary["acked"] >= 20
    assert summary["read_back"] > summary["objects"]
    assert all(summary[kind] == 0 for kind in FINDINGS)


@pytest.mark.parametrize("kind", ["lost", "torn", "stale", "unlisted"])
def test_what_a_store_does_to_an_acknowledged_object_is_found(kind: str) -> None:
    store = Store()
    journal = written(store)
    key, number = next((key, number) for (_, key), number in journal.state.items() if number)
    if kind == "lost":
        del store.objects[key]
    elif kind == "torn":
        store.objects[key] = store.objects[key][:-1] + b"!"
    elif kind == "stale":
        store.objects[key] = content(journal.run, BUCKET, key, number - 1)
    else:
        store.listed = {}
    journal.verify(0.0)
    assert f"{BUCKET}/{key}" in journal.found[kind]


def test_a_deleted_object_that_comes_back_is_found() -> None:
    store = Store()
    journal = written(store, 1)
    (_, key), number = next(iter(journal.state.items()))
    journal.state[BUCKET, key] = 0
    store.objects[key] = content(journal.run, BUCKET, key, number)
    journal.verify(0.0)
    assert journal.found["stale"] == journal.found["ghost"] == {f"{BUCKET}/{key}"}


def test_what_is_not_served_is_repeated_and_what_is_refused_is_a_finding() -> None:
    store = Store()
    errors = iter([NoAnswer("silence", kind="503"), Denied("404 NoSuchBucket")])

    def refuse() -> None:
        for error in errors:
            raise error

    store.refuse = refuse
    journal = written(store, 1)
    assert journal.repeated == {"503": 1}
    assert found(journal) == {"denied": {f"{BUCKET}/"}}


def test_a_journal_gives_up_when_its_patience_ends() -> None:
    store = Store()

    def refuse() -> None:
        raise NoAnswer("silence", kind="503")

    store.refuse = refuse
    journal = Journal(store, [Lane("lane", BUCKET, KEYS)], io.StringIO(), patience_s=0.0)
    with pytest.raises(NoAnswer):
        journal.prepare()


def test_what_is_logged_names_each_acknowledged_request() -> None:
    journal = written(Store(), 3)
    assert isinstance(journal.out, io.StringIO)
    lines = [json.loads(line) for line in journal.out.getvalue().splitlines()]
    assert [line["key"] for line in lines[:3]] == ["two", "one", "two"]
    assert all(line["sent"] <= line["tried"] <= line["acked"] and line["tries"] == 1 for line in lines)


def test_lanes_share_no_object() -> None:
    lanes = lanes_of(2, 5, 3)
    assert {lane.bucket for lane in lanes} == {"journal-0", "journal-1"}
    assert len({(lane.bucket, key) for lane in lanes for key in lane.keys}) == 15
    assert judge(b"", "run", "b", "k", 1) == "torn"
