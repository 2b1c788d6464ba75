"""Incremental checksums equal full recomputation, exhaustively."""
from __future__ import annotations

import random
import struct

import pytest

from natfast.checksum import internet_checksum, ttl_decrement, update


def reference(data: bytes) -> int:
    """RFC 1071 as its text says it."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_full_checksum_against_the_rfc() -> None:
    rng = random.Random(1)
    for n in [*range(64), 1480, 65535]:
        data = rng.randbytes(n)
        assert internet_checksum(data) == reference(data)


@pytest.mark.parametrize("old", [0x0000, 0x0001, 0x1234, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF])
def test_every_new_value_of_a_word(old: int) -> None:
    rest = bytes(range(1, 17))
    before = reference(struct.pack(">H", old) + rest)
    for new in range(65536):
        assert update(before, old, new) == reference(struct.pack(">H", new) + rest)


def test_every_old_checksum_keeps_the_sum() -> None:
    # whatever the sum was, right or wrong, it is as right or wrong afterwards
    for check in range(65536):
        after = update(check, 0xAC110002, 0xC0A80164)
        error_before = (check + 0xAC11 + 0x0002) % 0xFFFF
        assert (after + 0xC0A8 + 0x0164) % 0xFFFF == error_before
        assert after != 0xFFFF


def test_ttl_for_every_checksum() -> None:
    for check in range(65536):
        assert (ttl_decrement(check) - check - 0x0100) % 0xFFFF == 0
