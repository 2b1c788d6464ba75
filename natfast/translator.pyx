"""What a capture's frames become on the other side of the host, one after the other.

Of a frame that was cut when it was captured the checksums are taken for right, and what is written is cut, too; a fragment that was
cut is dropped.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
cimport numpy as np

from natfast.blocks cimport BlockBuffer
from natfast.filter cimport NF_ACCEPT, NF_STOLEN
from natfast.headers cimport ETH_HLEN, be16, be32
from natfast.hooks cimport Netfilter
from natfast.records cimport Record
from natfast.table cimport prefetch
from natfast.defrag import fragment

np.import_array()

cdef enum:
    FRAME = ETH_HLEN + 65535
    GROWTH = 64                 # options that rules add
    CUT = 60                    # bytes of a frame that was cut: fewer are dropped, as not all of the headers are there
    NEAR = 16                   # frames that are asked for ahead

ctypedef struct Network:
    uint32_t address
    uint32_t mask


cdef Network* array_of(list networks) except NULL:
    """(address, netmask) of each; the caller's to free."""
    cdef size_t i
    cdef Network* out = <Network*>malloc((len(networks) + 1) * sizeof(Network))
    if out == NULL:
        raise MemoryError
    for i in range(len(networks)):
        out[i].address, out[i].mask = networks[i]
    return out


cdef inline bint within(const Network* networks, size_t n, uint32_t address) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if address & networks[i].mask == networks[i].address:
            return True
    return False


cdef class Translator:
    """Sends frames that were captured at `iif` through a host, and keeps what leaves it by `oif`.

    Parameters
    ----------
    nat : Netfilter
    iif, oif : str
    networks : list of (int, int)
        Network address and netmask of what lies behind `iif`.
    own : list of (int, int)
        The host's addresses, each as a network of one.
    macs : dict of int to bytes
        MACs of neighbours by `oif`.
    gateway : bytes or None
        MAC for all who are no neighbours; None: frames to them keep theirs.
    mac : bytes
        That of `oif`.
    blocks : BlockBuffer
        Gets the frames that leave.
    interface : int
        Their interface's number in that file.
    """

    cdef Netfilter nat
    cdef BlockBuffer blocks
    cdef int iif
    cdef int oif
    cdef uint32_t interface
    cdef Network* networks
    cdef size_t n_networks
    cdef Network* own
    cdef size_t n_own
    cdef dict macs
    cdef bytes gateway
    cdef bytes mac
    cdef uint8_t* frame         # one at a time
    cdef readonly uint64_t translated
    cdef readonly uint64_t returned
    cdef readonly uint64_t other

    def __cinit__(self, Netfilter nat not None, str iif, str oif, list networks, list own, dict macs, gateway, bytes mac,
                  BlockBuffer blocks not None, uint32_t interface):
        self.nat = nat
        self.iif = nat.number(iif)
        self.oif = nat.number(oif)
        self.n_networks = len(networks)
        self.networks = array_of(networks)
        self.n_own = len(own)
        self.own = array_of(own)
        self.frame = <uint8_t*>malloc(FRAME + GROWTH)
        if self.frame == NULL:
            raise MemoryError
        self.macs = macs
        self.gateway = gateway
        self.mac = mac
        self.blocks = blocks
        self.interface = interface

    def __dealloc__(self):
        free(self.networks)
        free(self.own)
        free(self.frame)

    def send(self, data, records, int64_t start):
        """Frames of a capture, in order.

        Parameters
        ----------
        data : bytes-like
            The file.
        records : structured array
            `natfast.records.Records.table`, or a part of it.
        start : int
            ns at which the clock began.
        """
        cdef const uint8_t[::1] file = data
        cdef const uint8_t* p = &file[0]
        cdef const Record* record = <const Record*>np.PyArray_DATA(records)
        cdef size_t i, n = len(records)
        for i in range(n):
            if i + NEAR < n:
                prefetch(p + record[i + NEAR].at + 32)
            self.one(p + record[i].at, &record[i], <double>(record[i].ns - start) / 1e9)

    cdef int one(self, const uint8_t* frame, const Record* r, double now) except -1:
        cdef uint32_t src, dst, have = min(r.have, <uint32_t>FRAME), length = have, headers = 0
        cdef int verdict
        if r.length > r.have and have >= CUT:
            length = min(r.length, <uint32_t>FRAME)     # the file has its headers, which is all that is looked at then
            headers = have - ETH_HLEN
        if length < ETH_HLEN + 20 or be16(frame + 12) != 0x0800:
            self.other += 1
            return 0
        src = be32(frame + 26)
        dst = be32(frame + 30)
        if not within(self.networks, self.n_networks, src):
            self.returned += 1
            memcpy(self.frame, frame, have)
            self.nat.clock(now)
            self.nat.observe(self.frame, length, headers, self.iif, self.oif)
            return 0
        if (dst >> 28 == 14 or within(self.networks, self.n_networks, dst) or within(self.own, self.n_own, src)
                or within(self.own, self.n_own, dst)):
            self.other += 1
            return 0
        memcpy(self.frame, frame, have)
        self.nat.clock(now)
        verdict = self.nat.forward_one(self.frame, length, headers, FRAME + GROWTH - ETH_HLEN, self.iif, self.oif, &length)
        if verdict == NF_ACCEPT:
            self.leave(self.frame, min(have, length) if headers else length, length, r.ns)
        elif verdict == NF_STOLEN and not headers:
            self.nat.hold(frame[:length], now, self.iif, self.oif)
            for whole, v, size, sizes in self.nat.take_reassembled():
                if v == NF_ACCEPT:
                    for piece in fragment(whole[14:], size, False, sizes):
                        whole = bytearray(whole[:14] + piece)
                        self.leave(<uint8_t*><char*>whole, len(whole), len(whole), r.ns)
        return 0

    cdef int leave(self, uint8_t* frame, uint32_t have, uint32_t length, int64_t ns) except -1:
        cdef bytes mac = self.macs.get(be32(frame + 30), self.gateway)
        if mac is not None:
            memcpy(frame, <const char*>mac, 6)
            memcpy(frame + 6, <const char*>self.mac, 6)
        self.blocks.add(self.interface, <uint64_t>ns, frame, have, have, length)
        self.translated += 1
        return 0
