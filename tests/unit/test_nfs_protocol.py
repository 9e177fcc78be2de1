"""XDR, RPC records and NFS operations: what is packed can be read back, and garbage is refused without harm."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.services.nfs import ops, rpc
from holdfast.services.nfs.ops import NfsStatusError, StateId, Status
from holdfast.services.nfs.xdr import Packer, Unpacker, XdrError

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
BITS = st.sets(st.integers(0, 95)).map(lambda bits: tuple(sorted(bits)))


@given(U32, U64, st.booleans(), st.binary(max_size=300), st.text(max_size=50), BITS)
def test_round_trip(number: int, big: int, yes: bool, data: bytes, text: str, bits: tuple[int, ...]) -> None:
    packed = Packer().u32(number).u64(big).boolean(yes).opaque(data).text(text).bitmap(bits).fixed(data).packed()
    assert len(packed) % 4 == 0
    back = Unpacker(packed)
    assert (back.u32(), back.u64(), back.boolean(), back.opaque(), back.opaque().decode()) == (
        number,
        big,
        yes,
        data,
        text,
    )
    assert back.bitmap() == bits
    assert back.fixed(len(data)) == data
    assert back.left == 0


@given(st.binary(max_size=200))
def test_garbage_ends_in_an_error_of_ours(data: bytes) -> None:
    operations = [ops.sequence(b"s" * 16, 1, 0, 3, False), ops.open_reclaim(1, b"o"), ops.get_attributes()]
    for decode in (lambda: rpc.reply(data), lambda: ops.compound_results(Unpacker(data), operations)):
        with contextlib.suppress(XdrError, rpc.RpcError):
            decode()


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.integers(1, 7), st.integers(1, 9))
def test_records_in_any_fragments_and_any_pieces(records: list[bytes], fragment: int, piece: int) -> None:
    stream = b""
    for record in records:
        parts = [record[i : i + fragment] for i in range(0, len(record), fragment)]
        for i, part in enumerate(parts):
            last = 0x80000000 if i == len(parts) - 1 else 0
            stream += struct.pack(">I", last | len(part)) + part
    reader = rpc.RecordReader()
    found = [record for i in range(0, len(stream), piece) for record in reader.feed(stream[i : i + piece])]
    assert found == records


def test_an_absurd_record_is_refused() -> None:
    with pytest.raises(rpc.RpcError, match="announces"):
        rpc.RecordReader().feed(struct.pack(">I", 0xFFFFFFFF))


def test_a_call_carries_program_version_procedure_and_credential() -> None:
    wire = rpc.call(7, rpc.PROC_COMPOUND, b"body", rpc.Credential("host", 3, 4))
    (mark,) = struct.unpack_from(">I", wire)
    assert mark == 0x80000000 | len(wire) - 4
    data = Unpacker(wire[4:])
    assert [data.u32() for _ in range(6)] == [7, 0, 2, 100003, 4, 1]
    assert data.u32() == 1
    credential = Unpacker(data.opaque())
    assert (credential.u32(), credential.opaque(), credential.u32(), credential.u32()) == (0, b"host", 3, 4)


def test_replies_accepted_refused_and_denied() -> None:
    accepted = Packer().u32(9).u32(1).u32(0).u32(0).opaque(b"").u32(0).u32(42).packed()
    xid, data = rpc.reply(accepted)
    assert xid == 9 and isinstance(data, Unpacker) and data.u32() == 42
    _, refused = rpc.reply(Packer().u32(9).u32(1).u32(0).u32(0).opaque(b"").u32(3).packed())
    assert isinstance(refused, rpc.RpcError) and "procedure unavailable" in refused.message
    _, denied = rpc.reply(Packer().u32(9).u32(1).u32(1).u32(1).u32(5).packed())
    assert isinstance(denied, rpc.RpcError) and "too weak" in denied.message


def test_a_compound_that_failed_half_way_gives_what_succeeded() -> None:
    operations = [ops.put_root(), ops.get_handle(), ops.lookup("x"), ops.get_attributes()]
    body = Packer().u32(Status.NOENT).text("").u32(3)
    body.u32(24).u32(0).u32(10).u32(0).opaque(b"handle").u32(15).u32(Status.NOENT)
    results, error = ops.compound_results(Unpacker(body.packed()), operations)
    assert results == [None, b"handle"]
    assert isinstance(error, NfsStatusError) and (error.operation, error.status) == ("LOOKUP", Status.NOENT)
    assert "NOENT" in error.message


def test_attributes_are_read_in_the_order_of_their_numbers() -> None:
    values = Packer().u32(2).u64(4096).u64(77).u32(0o755).packed()
    body = Packer().bitmap((1, 4, 20, 33)).opaque(values).packed()
    assert ops.get_attributes().decode(Unpacker(body)) == ops.Attributes(2, 4096, 77, 0o755)


def test_an_unwanted_delegation_is_an_error_and_a_refused_one_is_not() -> None:
    def result(*delegation: int) -> bytes:
        body = StateId(1, b"x" * 12).pack(Packer()).boolean(True).u64(1).u64(2).u32(0).bitmap(())
        for word in delegation:
            body.u32(word)
        return body.packed()

    decode = ops.open_reclaim(1, b"o").decode
    assert decode(Unpacker(result(0))) == StateId(1, b"x" * 12)
    assert decode(Unpacker(result(3, 1, 0))) == StateId(1, b"x" * 12)
    with pytest.raises(XdrError, match="delegation"):
        decode(Unpacker(result(2)))
