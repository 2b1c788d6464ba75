"""Ethernet addresses."""
from libc.stdint cimport uint8_t, uint64_t
from natfast.headers cimport be16, be32


cdef inline uint64_t mac_key(const uint8_t* m) noexcept nogil:
    """A MAC as a number."""
    return (<uint64_t>be16(m) << 32) | be32(m + 2)


cdef inline bytes mac_bytes(str text):
    """The six bytes of a MAC as `02:42:ac:11:00:02`; ValueError if it is none."""
    cdef list parts = text.split(":")
    if len(parts) == 6 and all([len(part) == 2 for part in parts]):
        try:
            return bytes.fromhex("".join(parts))
        except ValueError:
            pass
    raise ValueError(f"{text!r} is not a MAC address")
