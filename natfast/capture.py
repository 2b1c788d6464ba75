"""Capture files: reads pcap and pcapng, writes pcapng (draft-ietf-opsawg-pcapng), Ethernet only."""
from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from natfast.errors import CaptureError

LINKTYPE_ETHERNET = 1
NANOSECONDS = 9


class Captured(NamedTuple):
    """One frame of a capture."""

    time: float
    """Seconds since the epoch."""
    interface: str
    frame: bytes
    length: int
    """Bytes on the wire; more than `len(frame)` if it was cut."""


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    n = len(body) + 12
    return struct.pack("<II", kind, n) + body + struct.pack("<I", n)


class PcapngWriter:
    """Writes a pcapng file with one interface block per interface, times in nanoseconds.

    The file gets its name when it is closed: nobody sees half of it.
    """

    def __init__(self, path: str | Path, application: str = "simcore") -> None:
        self.path = Path(path)
        self.temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.file: BinaryIO = open(self.temporary, "wb")  # noqa: SIM115  (closed in `close`)
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror}") from None
        body = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(4, application.encode()) + _option(0, b"")
        self.file.write(_block(0x0A0D0D0A, body))
        self.interfaces = 0
        self.packets = 0
        self.flushes: list[Callable[[], None]] = []

    def add_interface(self, name: str, snaplen: int = 0) -> int:
        """Declare an interface; returns its number for `write`."""
        body = struct.pack("<HHI", LINKTYPE_ETHERNET, 0, snaplen) + _option(2, name.encode()) + _option(
            9, bytes([NANOSECONDS])) + _option(0, b"")
        self.file.write(_block(1, body))
        self.interfaces += 1
        return self.interfaces - 1

    def write(self, interface: int, time: float, frame: bytes, length: int | None = None, comment: str = "") -> None:
        """One frame; `length` is its size on the wire if `frame` was cut."""
        ns = round(time * 1e9)
        options = _option(1, comment.encode()) + _option(0, b"") if comment else b""
        self.file.write(_block(6, struct.pack("<IIIII", interface, ns >> 32, ns & 0xFFFFFFFF, len(frame),
                                              len(frame) if length is None else length) + _padded(frame) + options))
        self.packets += 1

    def append(self, blocks: bytes) -> None:
        """Blocks that somebody else has encoded."""
        self.file.write(blocks)

    def before_closing(self, flush: Callable[[], None]) -> None:
        """Call this before the file is finished: whoever appends may hold something back."""
        self.flushes.append(flush)

    def close(self) -> None:
        """Finish the file under its name."""
        if not self.file.closed:
            for flush in self.flushes:
                flush()
            self.file.close()
            self.temporary.replace(self.path)

    def discard(self) -> None:
        """Leave nothing behind."""
        self.file.close()
        self.temporary.unlink(missing_ok=True)

    def __enter__(self) -> PcapngWriter:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def read(path: str | Path) -> Iterator[Captured]:
    """The frames of a pcap or pcapng file.

    Raises
    ------
    CaptureError
        If the file cannot be read, is damaged, or is not Ethernet.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from None
    magic = data[:4]
    if magic == b"\x0a\x0d\x0d\x0a":
        yield from _read_pcapng(path, data)
    elif magic in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d"):
        yield from _read_pcap(path, data)
    else:
        raise CaptureError(f"{path}: neither pcap nor pcapng (first bytes {magic.hex()})")


def _read_pcap(path: str | Path, data: bytes) -> Iterator[Captured]:
    order = "<" if data[0] in (0xD4, 0x4D) else ">"
    unit = 1e-9 if 0x3C in data[1:3] and data[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1e-6
    if len(data) < 24:
        raise CaptureError(f"{path}: pcap header is cut off")
    link = struct.unpack(order + "I", data[20:24])[0] & 0xFFFF
    if link != LINKTYPE_ETHERNET:
        raise CaptureError(f"{path}: link type {link}, expected Ethernet (1)")
    at = 24
    while at < len(data):
        if at + 16 > len(data):
            raise CaptureError(f"{path}: byte {at}: packet header is cut off")
        seconds, fraction, have, length = struct.unpack(order + "IIII", data[at:at + 16])
        at += 16
        if at + have > len(data):
            raise CaptureError(f"{path}: byte {at}: packet of {have} bytes is cut off")
        yield Captured(seconds + fraction * unit, "", data[at:at + have], length)
        at += have


def _read_pcapng(path: str | Path, data: bytes) -> Iterator[Captured]:
    at, order = 0, "<"
    interfaces: list[tuple[str, float]] = []
    while at < len(data):
        if at + 12 > len(data):
            raise CaptureError(f"{path}: byte {at}: block header is cut off")
        if data[at:at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8:at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, size = struct.unpack(order + "II", data[at:at + 8])
        if size < 12 or size % 4 or at + size > len(data):
            raise CaptureError(f"{path}: byte {at}: block of {size} bytes does not fit the file")
        body = data[at + 8:at + size - 4]
        if kind == 1:
            interfaces.append(_interface(path, at, body, order))
        elif kind == 6:
            if len(body) < 20:
                raise CaptureError(f"{path}: byte {at}: packet block too short")
            number, high, low, have, length = struct.unpack(order + "IIIII", body[:20])
            if number >= len(interfaces) or 20 + have > len(body):
                raise CaptureError(f"{path}: byte {at}: packet block names interface {number}, length {have}")
            name, unit = interfaces[number]
            yield Captured((high << 32 | low) * unit, name, body[20:20 + have], length)
        at += size


def _interface(path: str | Path, at: int, body: bytes, order: str) -> tuple[str, float]:
    if len(body) < 8:
        raise CaptureError(f"{path}: byte {at}: interface block too short")
    link = struct.unpack(order + "H", body[:2])[0]
    if link != LINKTYPE_ETHERNET:
        raise CaptureError(f"{path}: link type {link}, expected Ethernet (1)")
    name, unit, i = "", 1e-6, 8
    while i + 4 <= len(body):
        code, n = struct.unpack(order + "HH", body[i:i + 4])
        value = body[i + 4:i + 4 + n]
        if code == 0:
            break
        if code == 2:
            name = value.decode(errors="replace")
        elif code == 9 and value:
            unit = 2.0 ** -(value[0] & 127) if value[0] & 128 else 10.0 ** -value[0]
        i += 4 + n + (-n % 4)
    return name, unit
