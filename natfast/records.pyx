"""Where the frames of a pcap or pcapng file are (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng), found in one pass."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
cimport numpy as np
import numpy

from natfast.errors import CaptureError

np.import_array()

cdef enum:
    LINKTYPE_ETHERNET = 1
    SECTION = 0x0A0D0D0A        # reads the same in both byte orders
    INTERFACE = 1
    PACKET = 6                  # enhanced packet block
    OPTION_END = 0
    OPTION_NAME = 2
    OPTION_RESOLUTION = 9

RECORD = numpy.dtype([("at", "i8"), ("ns", "i8"), ("have", "u4"), ("length", "u4"), ("interface", "u4"), ("pad", "u4")])


cdef inline uint32_t word(const uint8_t* p, bint swapped) noexcept nogil:
    cdef uint32_t v
    memcpy(&v, p, 4)
    return (v >> 24) | (v >> 8 & 0xFF00) | (v << 8 & 0xFF0000) | (v << 24) if swapped else v


cdef inline uint16_t half(const uint8_t* p, bint swapped) noexcept nogil:
    cdef uint16_t v
    memcpy(&v, p, 2)
    return <uint16_t>(v >> 8 | v << 8) if swapped else v


cdef int64_t nanoseconds(uint64_t t, uint8_t resolution) noexcept nogil:
    """A pcapng time in units of 10**-n s, or 2**-n s where the top bit is set."""
    cdef uint32_t n = resolution & 127
    cdef uint64_t fraction
    if resolution & 128:
        if n > 63:
            return 0
        fraction = t & (((<uint64_t>1) << n) - 1)
        return <int64_t>((t >> n) * 1000000000 + ((fraction >> (n - 32)) * 1000000000 >> 32 if n > 32 else fraction * 1000000000 >> n))
    while n < 9:
        t *= 10
        n += 1
    while n > 9:
        t //= 10
        n -= 1
    return <int64_t>t


cdef class Records:
    """The frames of a capture.

    Attributes
    ----------
    table : structured array (n,)
        `at` (where the frame begins in the data), `ns` (int64, since the epoch), `have` and `length` (bytes in the file, and on the
        wire), `interface` (which of the names).
    names : list of str
        The interfaces' names, empty where the file has none.

    Raises
    ------
    CaptureError
        If the data is no capture, is damaged, or is not Ethernet.
    """

    cdef readonly object table
    cdef readonly list names
    cdef object path
    cdef object held            # the table as it grows
    cdef Record* record
    cdef size_t n, room

    def __init__(self, data, path):
        cdef const uint8_t[::1] bytes_ = data
        cdef size_t size = bytes_.shape[0]
        cdef const uint8_t* p = &bytes_[0] if size else NULL
        self.path = path
        self.names = []
        self.grow(1024)
        magic = bytes(data[:4])
        if magic == b"\x0a\x0d\x0d\x0a":
            self.pcapng(p, size)
        elif magic in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d"):
            self.pcap(p, size)
        else:
            raise CaptureError(f"{path}: neither pcap nor pcapng (first bytes {magic.hex()})")
        self.table = self.held[:self.n]
        self.held = None

    cdef int grow(self, size_t room) except -1:
        held = numpy.zeros(room, RECORD)
        if self.held is not None:
            held[:self.n] = self.held[:self.n]
        self.held = held
        self.record = <Record*>np.PyArray_DATA(held)
        self.room = room
        return 0

    cdef inline int add(self, size_t at, int64_t ns, uint32_t have, uint32_t length, uint32_t interface) except -1:
        if self.n == self.room:
            self.grow(2 * self.room)
        self.record[self.n] = Record(<int64_t>at, ns, have, length, interface, 0)
        self.n += 1
        return 0

    cdef int pcap(self, const uint8_t* p, size_t size) except -1:
        cdef bint swapped = p[0] == 0xA1
        cdef int64_t unit = 1 if p[1] == 0x3C or p[2] == 0x3C else 1000
        cdef size_t at = 24
        cdef uint32_t have
        if size < 24:
            raise CaptureError(f"{self.path}: pcap header is cut off")
        self.ethernet(word(p + 20, swapped) & 0xFFFF)
        self.names.append("")
        while at < size:
            if size - at < 16:
                raise CaptureError(f"{self.path}: byte {at}: packet header is cut off")
            have = word(p + at + 8, swapped)
            if size - at - 16 < have:
                raise CaptureError(f"{self.path}: byte {at + 16}: packet of {have} bytes is cut off")
            self.add(at + 16, word(p + at, swapped) * <int64_t>1000000000 + word(p + at + 4, swapped) * unit, have, word(p + at + 12, swapped), 0)
            at += 16 + have
        return 0

    cdef int pcapng(self, const uint8_t* p, size_t size) except -1:
        cdef bint swapped = False
        cdef size_t at = 0, first = 0           # the section's interfaces begin there
        cdef uint32_t kind, block, number, have
        cdef uint8_t unit
        cdef uint8_t resolution[65536]
        while at < size:
            if size - at < 12:
                raise CaptureError(f"{self.path}: byte {at}: block header is cut off")
            kind = word(p + at, False)
            if kind == SECTION:
                swapped = word(p + at + 8, False) != 0x1A2B3C4D
                first = len(self.names)
            kind = word(p + at, swapped)
            block = word(p + at + 4, swapped)
            if block < 12 or block % 4 or size - at < block:
                raise CaptureError(f"{self.path}: byte {at}: block of {block} bytes does not fit the file")
            if kind == INTERFACE:
                if len(self.names) == 65536:
                    raise CaptureError(f"{self.path}: byte {at}: more than 65536 interfaces")
                if block < 20:
                    raise CaptureError(f"{self.path}: byte {at}: interface block too short")
                self.ethernet(half(p + at + 8, swapped))
                unit = self.interface(p + at + 16, p + at + block - 4, swapped)
                resolution[len(self.names) - 1] = unit
            elif kind == PACKET:
                if block < 32:
                    raise CaptureError(f"{self.path}: byte {at}: packet block too short")
                number = word(p + at + 8, swapped)
                have = word(p + at + 20, swapped)
                if number >= len(self.names) - first or block - 32 < have:
                    raise CaptureError(f"{self.path}: byte {at}: packet block names interface {number}, length {have}")
                number += <uint32_t>first
                self.add(at + 28, nanoseconds(<uint64_t>word(p + at + 12, swapped) << 32 | word(p + at + 16, swapped), resolution[number]), have,
                         word(p + at + 24, swapped), number)
            at += block
        return 0

    cdef int ethernet(self, uint32_t link) except -1:
        if link != LINKTYPE_ETHERNET:
            raise CaptureError(f"{self.path}: link type {link}, expected Ethernet (1)")
        return 0

    cdef int interface(self, const uint8_t* p, const uint8_t* end, bint swapped) except -1:
        """Take an interface's name from its options; gives its times' resolution."""
        cdef uint8_t resolution = 6
        cdef uint16_t code, n
        name = ""
        while end - p >= 4:
            code = half(p, swapped)
            n = half(p + 2, swapped)
            if code == OPTION_END or end - p - 4 < n:
                break
            if code == OPTION_NAME:
                name = (<const char*>p)[4:4 + n].decode(errors="replace")
            elif code == OPTION_RESOLUTION and n:
                resolution = p[4]
            p += 4 + ((n + 3) & ~3)
        self.names.append(name)
        return resolution
