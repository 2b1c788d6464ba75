from libc.stdint cimport uint32_t

from simcore.engine.map cimport is_used

cdef double AGEING = 300.0              # s

# An entry: 47 bits of microseconds (four years), 16 of the port's interface index, and whether it is static.

cdef inline uint64_t entry_of(int port, double seen, bint static_) noexcept nogil:
    return <uint64_t>(seen * 1e6) << 17 | <uint64_t>(port & 0xFFFF) << 1 | static_


cdef inline int port_in(uint64_t entry) noexcept nogil:
    return <int>(entry >> 1 & 0xFFFF)


cdef inline double seen_at(uint64_t entry) noexcept nogil:
    return (entry >> 17) * 1e-6


cdef inline bint is_static(uint64_t entry) noexcept nogil:
    return entry & 1


cdef class Fdb:
    """Of all bridges of a namespace: one for each MAC. MACs are numbers (`simcore.net.mac.mac_key`)."""

    def __cinit__(self):
        self.entries = U64Map()

    cdef void learn(self, uint64_t mac, int port, double now) noexcept:
        """A frame from this MAC came by that port; what is static stays."""
        cdef uint64_t* entry = self.entries.find(mac)
        if entry == NULL:
            self.entries.put(mac, entry_of(port, now, False))
        elif not is_static(entry[0]):
            entry[0] = entry_of(port, now, False)

    cdef void add(self, uint64_t mac, int port):
        """A static entry."""
        self.entries.put(mac, entry_of(port, 0, True))

    cdef int port_of(self, uint64_t mac, double now) noexcept:
        """Interface index of the port behind which a MAC was seen, -1 if it is unknown or too long ago."""
        cdef uint64_t* entry = self.entries.find(mac)
        if entry == NULL:
            return -1
        if not is_static(entry[0]) and now - seen_at(entry[0]) > AGEING:
            self.entries.remove(mac)
            return -1
        return port_in(entry[0])

    def rows(self):
        """(MAC, interface index of its port, static) of each entry."""
        cdef uint32_t i
        out = []
        for i in range(self.entries.mask + 1):
            if is_used(&self.entries.cells[i]):
                mac, entry = self.entries.cells[i].key, self.entries.cells[i].value
                out.append((":".join(f"{(mac >> (40 - 8 * k)) & 255:02x}" for k in range(6)), port_in(entry), is_static(entry)))
        return out
