from libc.string cimport memcpy, memset

from natfast.headers cimport (ETH_HLEN, ICMP_DEST_UNREACH, ICMP_ECHO, ICMP_ECHOREPLY, ICMP_PARAMETERPROB, ICMP_TIME_EXCEEDED, IPPROTO_ICMP,
                              IP_OFFSET, ip_frag, ip_ihl, put32)
from simcore.engine.frame cimport PACKET_HOST
from simcore.net.transport_checksum cimport set_checksum

cdef enum:
    SOURCE_QUENCH = 4
    TIMESTAMP_REPLY = 14
    FRAG_NEEDED = 4                     # code of an unreachable
    LAST_TYPE = 18                      # that Linux knows

cdef uint32_t UNANSWERED = 0x1EFE       # types 1-7 and 9-12: no error is sent about them
cdef double BURST = 6.0
cdef double REDIRECT_LOAD = 0.02        # s
cdef enum:
    REDIRECTS = 9


cdef class IcmpLimit:
    """icmp_ratelimit: per destination a burst of 6, then one error per interval; 3/4 is never limited.

    Parameters
    ----------
    interval : float
        Seconds.
    """

    def __cinit__(self, double interval):
        self.interval = interval
        self.tokens = {}

    cdef bint allows(self, int kind, int code, uint32_t dst, double now) noexcept:
        cdef double tokens, last
        if self.interval <= 0 or (kind == ICMP_DEST_UNREACH and code == FRAG_NEEDED):
            return True
        if kind != ICMP_DEST_UNREACH and kind != SOURCE_QUENCH and kind != ICMP_TIME_EXCEEDED and kind != ICMP_PARAMETERPROB:
            return True
        tokens, last = self.tokens.get(dst, (BURST, now))
        tokens = min(BURST, tokens + (now - last) / self.interval)
        self.tokens[dst] = (tokens if tokens < 1 else tokens - 1, now)
        return tokens >= 1

    def clear(self):
        """Forget what was sent."""
        self.tokens.clear()


cdef class RedirectLimit:
    """Redirects to one source: less and less often, after 20 ms, 40 ms, ..., nine times; anew after 20 s without one."""

    def __cinit__(self):
        self.told = {}

    cdef bint allows(self, uint32_t src, double now) noexcept:
        cdef uint32_t said
        cdef double last
        said, last = self.told.get(src, (0, now))
        if now - last > REDIRECT_LOAD * 1024:
            said = 0
        if said >= REDIRECTS or said and now <= last + REDIRECT_LOAD * (1 << said):
            return False
        self.told[src] = (said + 1, now)
        return True


cdef bint icmp_is_answered(const Frame* f) noexcept nogil:
    """May there be an error about this packet? Not about what was sent to all, later fragments, and ICMP that is no question."""
    cdef const uint8_t* ip = f.data + ETH_HLEN
    cdef uint32_t ihl = ip_ihl(ip)
    if f.packet_type != PACKET_HOST or ip_frag(ip) & IP_OFFSET:
        return False
    if ip[9] != IPPROTO_ICMP:
        return True
    return f.have >= ETH_HLEN + ihl + 1 and f.len >= ETH_HLEN + ihl + 1 and ip[ihl] <= LAST_TYPE and not UNANSWERED >> ip[ihl] & 1


cdef void icmp_emit_error(Frame* e, int kind, int code, uint32_t info, const uint8_t* ip, uint32_t have) noexcept:
    """Make a new packet an error that quotes the first `have` bytes of another from its IP header on."""
    cdef uint32_t l4 = ETH_HLEN + ip_ihl(e.data + ETH_HLEN)
    memset(e.data + l4, 0, 8)
    e.data[l4] = <uint8_t>kind
    e.data[l4 + 1] = <uint8_t>code
    put32(e.data + l4 + 4, info)
    memcpy(e.data + l4 + 8, ip, have)
    set_checksum(e, l4, 2, IPPROTO_ICMP)


cdef void icmp_emit_reply(Frame* r, const uint8_t* request, uint32_t have, uint32_t milliseconds) noexcept:
    """Make a new packet the answer to an echo request, or to one for the time of day (since midnight)."""
    cdef uint32_t l4 = ETH_HLEN + ip_ihl(r.data + ETH_HLEN)
    memcpy(r.data + l4, request, have)
    r.data[l4] = ICMP_ECHOREPLY if request[0] == ICMP_ECHO else TIMESTAMP_REPLY
    r.data[l4 + 1] = 0
    if request[0] != ICMP_ECHO:
        put32(r.data + l4 + 12, milliseconds)
        put32(r.data + l4 + 16, milliseconds)
    set_checksum(r, l4, 2, IPPROTO_ICMP)
