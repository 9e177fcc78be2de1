"""What both stores refuse before anything is sent: requests that are wrong in themselves."""

from collections.abc import Sequence

from holdfast.errors import InvalidInput
from holdfast.ports import Compare, Delete, Get, Op, Put

MAX_TXN_OPS = 1024
"""Operations per branch and comparisons per transaction; etcd is started with --max-txn-ops of the same value."""

MAX_REQUEST_BYTES = 1_500_000
"""Just below etcd's default --max-request-bytes (1.5 MiB)."""


def check_key(key: str) -> None:
    """Raises InvalidInput unless the key is text without a leading slash."""
    if not key or key.startswith("/"):
        raise InvalidInput(f"{key!r} is not a store key", "Keys are not empty and have no leading slash.")


def check_txn(compare: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op]) -> None:
    """Raises InvalidInput for what etcd would refuse: too many operations, a key written twice, too much data."""
    for part in (compare, then, otherwise):
        if len(part) > MAX_TXN_OPS:
            raise InvalidInput(f"a transaction of {len(part)} operations is too large", f"At most {MAX_TXN_OPS} fit.")
    for comparison in compare:
        check_key(comparison.key)
    for branch in (then, otherwise):
        written: set[str] = set()
        size = 0
        for op in branch:
            check_key(op.key)
            if isinstance(op, Get):
                continue
            if op.key in written:
                raise InvalidInput(f"a transaction writes the key {op.key!r} twice", "Write each key once.")
            written.add(op.key)
            size += len(op.key) + (len(op.value) if isinstance(op, Put) else 0)
        if size > MAX_REQUEST_BYTES:
            raise InvalidInput(f"a transaction of {size} bytes is too large", f"At most {MAX_REQUEST_BYTES} fit.")


def writes(then: Sequence[Op], otherwise: Sequence[Op]) -> bool:
    """Whether any branch changes something; only then can an outcome be unknown."""
    return any(isinstance(op, Put | Delete) for op in (*then, *otherwise))


def puts(then: Sequence[Op], otherwise: Sequence[Op]) -> bool:
    """Whether any branch needs space; a full store refuses these and lets deletions pass."""
    return any(isinstance(op, Put) for op in (*then, *otherwise))
