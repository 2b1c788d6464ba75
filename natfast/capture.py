"""Capture files: reads pcap and pcapng, writes pcapng (draft-ietf-opsawg-pcapng), Ethernet only."""
from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from natfast.errors import CaptureError
from natfast.records import Records

LINKTYPE_ETHERNET = 1
NANOSECONDS = 9
CHUNK = 65536


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


def contents(path: str | Path) -> bytes | mmap.mmap:
    """A file's bytes, of a regular one as they are needed.

    Raises
    ------
    CaptureError
        If it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return file.read()              # nothing, or a pipe: neither can be mapped
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from None


def read(path: str | Path) -> Iterator[Captured]:
    """The frames of a pcap or pcapng file.

    Raises
    ------
    CaptureError
        If the file cannot be read, is damaged, or is not Ethernet.
    """
    data = contents(path)
    records = Records(data, path)
    while len(table := records.take(CHUNK)):
        for at, ns, have, length, interface, _ in table.tolist():
            yield Captured(ns / 1e9, records.names[interface], data[at:at + have], length)
