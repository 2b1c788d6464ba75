"""Where the frames of a pcap or pcapng file are (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng), one after the other."""
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
    INTERFACES = 65536          # of all sections of a file

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
    """The frames of a capture, in order.

    Parameters
    ----------
    data : bytes-like
        The file.
    path : str or Path
        Its name, for errors.

    Attributes
    ----------
    at : int
        How many bytes have been read.
    names : list of str
        Names of the interfaces that have been met, empty where the file has none.

    Raises
    ------
    CaptureError
        If the data is no capture, or is not Ethernet.
    """

    cdef readonly list names
    cdef readonly size_t at
    cdef object path
    cdef const uint8_t[::1] data
    cdef const uint8_t* p
    cdef size_t size
    cdef bint blocks            # pcapng, not pcap
    cdef bint swapped
    cdef int64_t unit           # pcap: ns
    cdef size_t first           # pcapng: the section's interfaces begin there,
    cdef uint8_t resolution[INTERFACES]         # and what their times are in

    def __init__(self, data, path):
        self.data = data
        self.size = self.data.shape[0]
        self.p = &self.data[0] if self.size else NULL
        self.path = path
        self.names = []
        magic = bytes(data[:4])
        if magic == b"\x0a\x0d\x0d\x0a":
            self.blocks = True
        elif magic in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d"):
            self.swapped = self.p[0] == 0xA1
            self.unit = 1 if self.p[1] == 0x3C or self.p[2] == 0x3C else 1000
            if self.size < 24:
                raise CaptureError(f"{path}: pcap header is cut off")
            self.ethernet(word(self.p + 20, self.swapped) & 0xFFFF)
            self.names.append("")
            self.at = 24
        else:
            raise CaptureError(f"{path}: neither pcap nor pcapng (first bytes {magic.hex()})")

    def take(self, size_t most):
        """The next frames.

        Parameters
        ----------
        most : int
            Not more than so many.

        Returns
        -------
        structured array (n,)
            `at` (where the frame begins in the data), `ns` (int64, since the epoch), `have` and `length` (bytes in the file, and on
            the wire), `interface` (which of the names). Empty at the end.

        Raises
        ------
        CaptureError
            If what comes next is damaged.
        """
        table = numpy.empty(most, RECORD)
        cdef Record* record = <Record*>np.PyArray_DATA(table)
        cdef size_t n = 0
        while n < most and self.at < self.size:
            n += self.block(&record[n]) if self.blocks else self.packet(&record[n])
        return table[:n]

    cdef int packet(self, Record* r) except -1:
        """Read the pcap record at `at`: 1."""
        cdef const uint8_t* p = self.p + self.at
        cdef size_t left = self.size - self.at
        cdef uint32_t have
        if left < 16:
            raise CaptureError(f"{self.path}: byte {self.at}: packet header is cut off")
        have = word(p + 8, self.swapped)
        if left - 16 < have:
            raise CaptureError(f"{self.path}: byte {self.at + 16}: packet of {have} bytes is cut off")
        r[0] = Record(<int64_t>self.at + 16, word(p, self.swapped) * <int64_t>1000000000 + word(p + 4, self.swapped) * self.unit, have,
                      word(p + 12, self.swapped), 0, 0)
        self.at += 16 + have
        return 1

    cdef int block(self, Record* r) except -1:
        """Read the pcapng block at `at`: 1 if it is a packet."""
        cdef const uint8_t* p = self.p + self.at
        cdef size_t at = self.at, left = self.size - at
        cdef uint32_t kind, size, number, have
        cdef uint8_t unit
        if left < 12:
            raise CaptureError(f"{self.path}: byte {at}: block header is cut off")
        if word(p, False) == SECTION:
            self.swapped = word(p + 8, False) != 0x1A2B3C4D
            self.first = len(self.names)
        kind = word(p, self.swapped)
        size = word(p + 4, self.swapped)
        if size < 12 or size % 4 or left < size:
            raise CaptureError(f"{self.path}: byte {at}: block of {size} bytes does not fit the file")
        self.at += size
        if kind == INTERFACE:
            if len(self.names) == INTERFACES:
                raise CaptureError(f"{self.path}: byte {at}: more than {INTERFACES} interfaces")
            if size < 20:
                raise CaptureError(f"{self.path}: byte {at}: interface block too short")
            self.ethernet(half(p + 8, self.swapped))
            unit = self.interface(p + 16, p + size - 4)
            self.resolution[len(self.names) - 1] = unit
        elif kind == PACKET:
            if size < 32:
                raise CaptureError(f"{self.path}: byte {at}: packet block too short")
            number = word(p + 8, self.swapped)
            have = word(p + 20, self.swapped)
            if number >= len(self.names) - self.first or size - 32 < have:
                raise CaptureError(f"{self.path}: byte {at}: packet block names interface {number}, length {have}")
            number += <uint32_t>self.first
            r[0] = Record(<int64_t>at + 28, nanoseconds(<uint64_t>word(p + 12, self.swapped) << 32 | word(p + 16, self.swapped),
                                                        self.resolution[number]), have, word(p + 24, self.swapped), number, 0)
            return 1
        return 0

    cdef int ethernet(self, uint32_t link) except -1:
        if link != LINKTYPE_ETHERNET:
            raise CaptureError(f"{self.path}: link type {link}, expected Ethernet (1)")
        return 0

    cdef int interface(self, const uint8_t* p, const uint8_t* end) except -1:
        """Take an interface's name from its options; gives its times' resolution."""
        cdef uint8_t resolution = 6
        cdef uint16_t code, n
        name = ""
        while end - p >= 4:
            code = half(p, self.swapped)
            n = half(p + 2, self.swapped)
            if code == OPTION_END or end - p - 4 < n:
                break
            if code == OPTION_NAME:
                name = (<const char*>p)[4:4 + n].decode(errors="replace")
            elif code == OPTION_RESOLUTION and n:
                resolution = p[4]
            p += 4 + ((n + 3) & ~3)
        self.names.append(name)
        return resolution
