"""XDR (RFC 4506): the data encoding of ONC RPC and NFS. Pure; every item is padded to four bytes, big-endian."""

import struct
from collections.abc import Callable
from typing import TypeVar

from holdfast.errors import DriverError

T = TypeVar("T")

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_MAX_ITEM_BYTES = 16 << 20
"""No reply of ours is larger; a larger length is garbage and must not make us allocate."""


class XdrError(DriverError):
    """Bytes that do not decode: cut short, an absurd length, or not what the protocol allows here."""


class Packer:
    """Builds an XDR byte string, item by item."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def u32(self, value: int) -> "Packer":
        self._parts.append(_U32.pack(value))
        return self

    def u64(self, value: int) -> "Packer":
        self._parts.append(_U64.pack(value))
        return self

    def boolean(self, value: bool) -> "Packer":
        return self.u32(1 if value else 0)

    def fixed(self, value: bytes) -> "Packer":
        """Opaque data of a length both sides know."""
        self._parts.append(value + b"\0" * (-len(value) % 4))
        return self

    def opaque(self, value: bytes) -> "Packer":
        """Opaque data preceded by its length."""
        return self.u32(len(value)).fixed(value)

    def text(self, value: str) -> "Packer":
        return self.opaque(value.encode())

    def bitmap(self, bits: tuple[int, ...]) -> "Packer":
        """NFSv4's bitmap4 (RFC 8881, section 3.3.1): a counted array of words, bit n in word n/32."""
        words = [0] * (max(bits) // 32 + 1) if bits else []
        for bit in bits:
            words[bit // 32] |= 1 << (bit % 32)
        self.u32(len(words))
        for word in words:
            self.u32(word)
        return self

    def packed(self) -> bytes:
        return b"".join(self._parts)


class Unpacker:
    """Reads an XDR byte string, item by item. Raises XdrError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def _take(self, count: int) -> bytes:
        if count > self.left:
            raise XdrError(f"a reply ended {count - self.left} bytes too early", "Look at the server's log.")
        start, self._at = self._at, self._at + count
        return self._data[start : self._at]

    def u32(self) -> int:
        return int(_U32.unpack(self._take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self._take(8))[0])

    def boolean(self) -> bool:
        return self.u32() != 0

    def fixed(self, length: int) -> bytes:
        value = self._take(length)
        self._take(-length % 4)
        return value

    def opaque(self) -> bytes:
        length = self.u32()
        if length > _MAX_ITEM_BYTES:
            raise XdrError(f"a reply announces an item of {length} bytes", "Is this an NFS server?")
        return self.fixed(length)

    def bitmap(self) -> tuple[int, ...]:
        words = self.array(self.u32)
        return tuple(32 * i + bit for i, word in enumerate(words) for bit in range(32) if word >> bit & 1)

    def array(self, item: Callable[[], T]) -> list[T]:
        """A counted array."""
        count = self.u32()
        if count > self.left:
            raise XdrError(f"a reply announces an array of {count} items", "Is this an NFS server?")
        return [item() for _ in range(count)]
