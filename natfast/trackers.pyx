"""UDP, UDP-Lite, ICMP, GRE, SCTP and everything else, as Linux 6.18 tracks them."""
from libc.stdint cimport uint8_t, uint32_t
from natfast.checksum cimport fold, pseudo_sum, sum_bytes
from natfast.headers cimport ICMP_ADDRESS, ICMP_ECHO, ICMP_INFO_REQUEST, ICMP_TIMESTAMP, IPPROTO_UDP, be16, be32
from natfast.packet cimport Packet
from natfast.state cimport Conntrack, TRACK_ACCEPT, TRACK_INVALID, TRACK_UNCOUNTED
from natfast.table cimport Entry, IPS_ASSURED, IPS_CONFIRMED, IPS_NAT_CLASH, IPS_SEEN_REPLY, SctpTrack
from libc.string cimport memset


cdef int stream_if_answered(Conntrack* c, Entry* e, uint32_t timeout, uint32_t stream) noexcept nogil:
    """GRE and UDP-Lite: an answer makes them a stream at once; UDP has to last for two seconds."""
    if not e.status & IPS_SEEN_REPLY:
        refresh(c, e, timeout)
        return TRACK_ACCEPT
    refresh(c, e, stream)
    if not e.status & IPS_NAT_CLASH:                    # those are over soon
        e.status |= IPS_ASSURED
    return TRACK_ACCEPT


cdef int udp_packet(Conntrack* c, Entry* e, Packet* p, uint32_t dataoff, bint at_prerouting) noexcept nogil:
    cdef uint32_t room = p.len - dataoff
    cdef const uint8_t* uh = p.data + dataoff
    cdef uint32_t length
    if room < 8 or p.avail < dataoff + 8:
        return TRACK_INVALID
    length = be16(uh + 4)
    if length > room or length < 8:
        return TRACK_INVALID
    if be16(uh + 6) != 0 and not sum_accepted(c, p, dataoff, IPPROTO_UDP, at_prerouting):
        return TRACK_INVALID
    if e.status & IPS_CONFIRMED:
        udp_refresh(c, e)
    else:
        udp_opened(c, e)
    return TRACK_ACCEPT


cdef int udplite_packet(Conntrack* c, Entry* e, Packet* p, uint32_t dataoff, bint at_prerouting) noexcept nogil:
    """RFC 3828: the length field is the checksum's coverage, and the checksum is not optional.

    Linux checks it with UDP's protocol number in the pseudo-header: only packets that no RFC 3828 sender
    makes are ever valid, and real UDP-Lite goes on untracked.
    """
    cdef uint32_t room = p.len - dataoff
    cdef const uint8_t* uh = p.data + dataoff
    cdef uint32_t coverage
    if room < 8 or p.avail < dataoff + 8:
        return TRACK_INVALID
    coverage = be16(uh + 4)
    if coverage == 0:
        coverage = room
    elif coverage < 8 or coverage > room:
        return TRACK_INVALID
    if be16(uh + 6) == 0:
        return TRACK_INVALID
    if looks_at_sums(c, p, at_prerouting) and fold(
            sum_bytes(uh, present(p, dataoff, coverage)) + pseudo_sum(p.data, IPPROTO_UDP, room)) != 0xFFFF:
        return TRACK_INVALID
    return stream_if_answered(c, e, c.sysctl.udp, c.sysctl.udp_stream)


cdef int icmp_packet(Conntrack* c, Entry* e) noexcept nogil:
    cdef uint32_t kind = e.tuple[0].dport >> 8
    if kind != ICMP_ECHO and kind != ICMP_TIMESTAMP and kind != ICMP_INFO_REQUEST and kind != ICMP_ADDRESS:
        return TRACK_INVALID
    refresh(c, e, c.sysctl.icmp)
    return TRACK_ACCEPT


cdef int gre_packet(Conntrack* c, Entry* e) noexcept nogil:
    return stream_if_answered(c, e, c.sysctl.gre, c.sysctl.gre_stream)


cdef int generic_packet(Conntrack* c, Entry* e) noexcept nogil:
    refresh(c, e, c.sysctl.generic)
    return TRACK_ACCEPT


# --- SCTP (RFC 9260) -------------------------------------------------------------------------------

SCTP_STATES = ("NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT",
               "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT")

cdef enum:                      # SctpState
    S_NO = 0
    S_CL = 1
    S_CW = 2
    S_CE = 3
    S_ES = 4
    S_SS = 5
    S_SR = 6
    S_SA = 7
    S_HS = 8
    S_IV = 9

# The table. Columns are the state a chunk finds, cells the state it leaves:
#   sNO none   sCL INIT seen, or over   sCW INIT-ACK seen   sCE COOKIE-ECHO seen   sES established
#   sSS the opener's SHUTDOWN seen   sSR the other side's   sSA SHUTDOWN-ACK seen
#   sHS a HEARTBEAT and nothing else: a second path of a multi-homed association   sIV invalid
# Chunks that are not here (DATA, SACK, ...) leave the state as it is.
sNO, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS, sIV = range(10)
SCTP_ORIGINAL = (
    #                    sNO  sCL  sCW  sCE  sES  sSS  sSR  sSA  sHS
    (1, "INIT",         (sCL, sCL, sCW, sCE, sES, sCL, sCL, sSA, sCW)),     # a new association may follow a shutdown
    (2, "INIT-ACK",     (sCL, sCL, sCW, sCE, sES, sSS, sSR, sSA, sCL)),     # answers nothing in this direction
    (6, "ABORT",        (sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL)),
    (7, "SHUTDOWN",     (sCL, sCL, sCW, sCE, sSS, sSS, sSR, sSA, sCL)),
    (8, "SHUTDOWN-ACK", (sSA, sCL, sCW, sCE, sES, sSA, sSA, sSA, sSA)),     # out of the blue it may open: RFC 9260 8.4 (5)
    (9, "ERROR",        (sCL, sCL, sCW, sCE, sES, sSS, sSR, sSA, sCL)),
    (10, "COOKIE-ECHO", (sCL, sCL, sCE, sCE, sES, sSS, sSR, sSA, sCL)),
    (11, "COOKIE-ACK",  (sCL, sCL, sCW, sES, sES, sSS, sSR, sSA, sCL)),
    (14, "SHUTDOWN-COMPLETE", (sCL, sCL, sCW, sCE, sES, sSS, sSR, sCL, sCL)),
    (4, "HEARTBEAT",    (sHS, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS)),
    (5, "HEARTBEAT-ACK", (sCL, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS)))
SCTP_REPLY = (
    (1, "INIT",         (sIV, sCL, sCW, sCE, sES, sSS, sSR, sSA, sIV)),     # both ends open at once: nothing learnt
    (2, "INIT-ACK",     (sIV, sCW, sCW, sCE, sES, sSS, sSR, sSA, sIV)),
    (6, "ABORT",        (sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sIV)),
    (7, "SHUTDOWN",     (sIV, sCL, sCW, sCE, sSR, sSS, sSR, sSA, sIV)),
    (8, "SHUTDOWN-ACK", (sIV, sCL, sCW, sCE, sES, sSA, sSA, sSA, sIV)),
    (9, "ERROR",        (sCL, sCL, sCW, sCL, sES, sSS, sSR, sSA, sIV)),     # a stale cookie ends the handshake
    (10, "COOKIE-ECHO", (sIV, sCL, sCE, sCE, sES, sSS, sSR, sSA, sIV)),
    (11, "COOKIE-ACK",  (sIV, sCL, sCW, sES, sES, sSS, sSR, sSA, sIV)),
    (14, "SHUTDOWN-COMPLETE", (sIV, sCL, sCW, sCE, sES, sSS, sSR, sCL, sIV)),
    (4, "HEARTBEAT",    (sIV, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS)),
    (5, "HEARTBEAT-ACK", (sIV, sCL, sCW, sCE, sES, sSS, sSR, sSA, sES)))    # the second path answers

cdef enum:                      # Chunk
    C_DATA = 0
    C_INIT = 1
    C_INIT_ACK = 2
    C_HEARTBEAT = 4
    C_HEARTBEAT_ACK = 5
    C_ABORT = 6
    C_SHUTDOWN_ACK = 8
    C_COOKIE_ECHO = 10
    C_COOKIE_ACK = 11
    C_SHUTDOWN_COMPLETE = 14

cdef enum:
    T_FLAG = 1                  # ABORT, SHUTDOWN-COMPLETE: the tag is the sender's own
    HEARTBEAT_TAG_FAILED = 1    # SctpTrack.flags

cdef uint8_t SCTP_TABLE[2][16][9]
cdef uint32_t CRC32C[256]


cdef int _compile() except -1:
    cdef int d, i, j
    cdef uint32_t r
    for d, table in enumerate((SCTP_ORIGINAL, SCTP_REPLY)):
        for i in range(16):
            for j in range(9):
                SCTP_TABLE[d][i][j] = j
        for i, _, row in table:
            for j, cell in enumerate(row):
                SCTP_TABLE[d][i][j] = cell
    for i in range(256):
        r = i
        for j in range(8):
            r = (r >> 1) ^ (0x82F63B78U if r & 1 else 0)
        CRC32C[i] = r
    return 0

_compile()


cdef uint32_t sctp_crc(Packet* p, uint32_t off) noexcept nogil:
    """CRC32c over the SCTP packet with its checksum field as zero (RFC 9260 appendix A)."""
    cdef uint32_t crc = 0xFFFFFFFFU, n = p.len - off, i
    cdef const uint8_t* s = p.data + off
    cdef uint8_t b
    for i in range(n):
        b = s[i] if off + i < p.avail and not 8 <= i < 12 else 0
        crc = CRC32C[(crc ^ b) & 255] ^ (crc >> 8)
    return ~crc


cdef bint sctp_crc_ok(Packet* p, uint32_t off) noexcept nogil:
    cdef uint32_t crc = sctp_crc(p, off)
    cdef const uint8_t* s = p.data + off
    return (s[8] == (crc & 255) and s[9] == ((crc >> 8) & 255) and s[10] == ((crc >> 16) & 255)
            and s[11] == (crc >> 24))


cdef inline int sctp_next(int dir, int state, uint32_t chunk) noexcept nogil:
    return SCTP_TABLE[dir][chunk][state] if chunk < 16 else state


cdef struct Chunks:
    # a walk over the chunks of a packet: type, flags and, of INIT and INIT-ACK, the initiate tag
    Packet* p
    uint32_t off                # of the next chunk
    uint32_t kind
    uint32_t flags
    uint32_t size               # as the chunk says
    uint32_t tag
    bint has_tag


cdef inline bint next_chunk(Chunks* w) noexcept nogil:
    cdef const uint8_t* ch = w.p.data + w.off
    if w.off + 4 > w.p.len or w.off + 4 > w.p.avail:
        return False
    w.kind = ch[0]
    w.flags = ch[1]
    w.size = be16(ch + 2)
    w.has_tag = w.off + 20 <= w.p.len and w.off + 20 <= w.p.avail
    w.tag = be32(ch + 4) if w.has_tag else 0
    w.off += (w.size + 3) & ~<uint32_t>3
    return True


cdef bint sctp_chunks_ok(Packet* p, uint32_t first, uint32_t* seen) noexcept nogil:
    """RFC 9260 6.10: INIT, INIT-ACK and SHUTDOWN-COMPLETE travel alone, COOKIE-ECHO and COOKIE-ACK go first."""
    cdef Chunks w
    cdef bint alone = False
    cdef int count = 0
    w.p = p
    w.off = first
    seen[0] = 0
    while next_chunk(&w):
        if w.kind == C_INIT or w.kind == C_INIT_ACK or w.kind == C_SHUTDOWN_COMPLETE:
            alone = True
        if w.size == 0 or count > 0 and (alone or w.kind == C_COOKIE_ACK or w.kind == C_COOKIE_ECHO):
            return False
        if w.kind < 32:
            seen[0] |= <uint32_t>1 << w.kind
        count += 1
    return count > 0


cdef bint sctp_new(SctpTrack* t, Packet* p, uint32_t first, uint32_t vtag) noexcept nogil:
    """First packet of an association: every chunk must be able to open one."""
    cdef Chunks w
    cdef int state
    w.p = p
    w.off = first
    memset(t, 0, sizeof(SctpTrack))
    while next_chunk(&w):
        state = sctp_next(0, S_NO, w.kind)
        if state == S_NO or state == S_IV:
            return False
        if w.kind == C_INIT or w.kind == C_INIT_ACK:
            if vtag != 0 or not w.has_tag:
                return False                            # RFC 9260 8.5.1 (A)
            t.vtag[1] = w.tag
        elif w.kind == C_HEARTBEAT:
            t.vtag[0] = vtag                            # a second path: the other side's tag its answer will tell
        elif w.kind == C_SHUTDOWN_ACK:
            t.vtag[1] = vtag                            # out of the blue: SHUTDOWN-COMPLETE reflects it (8.4 (5))
    return True


cdef enum:                      # Tag
    TAG_OK = 0
    TAG_WRONG = 1
    TAG_SKIP = 2                # let pass, learn nothing from this chunk


cdef int sctp_tag(SctpTrack* t, const Chunks* w, uint32_t vtag, int dir, bint with_data, bint ignoring) noexcept nogil:
    """The verification tag where one chunk has a rule of its own (RFC 9260 8.5.1).

    HEARTBEATs may come from a path that never saw the handshake: the first wrong tag is let pass, and if the other
    side acknowledges it, it is taken over.
    """
    if w.kind == C_INIT:
        return TAG_OK if vtag == 0 else TAG_WRONG
    if w.kind == C_ABORT or w.kind == C_SHUTDOWN_COMPLETE:
        return TAG_OK if vtag == t.vtag[1 - dir if w.flags & T_FLAG else dir] else TAG_WRONG
    if w.kind == C_COOKIE_ECHO:
        return TAG_OK if vtag == t.vtag[dir] else TAG_WRONG
    if w.kind != C_HEARTBEAT and w.kind != C_HEARTBEAT_ACK:
        return TAG_OK
    if t.vtag[dir] == 0:
        t.vtag[dir] = vtag
    elif vtag == t.vtag[dir]:
        t.flags &= ~HEARTBEAT_TAG_FAILED
    elif with_data or ignoring:
        return TAG_WRONG
    elif w.kind == C_HEARTBEAT:
        t.flags |= HEARTBEAT_TAG_FAILED
        t.last_dir = dir
        return TAG_SKIP
    elif not t.flags & HEARTBEAT_TAG_FAILED or t.last_dir == dir:
        return TAG_WRONG
    else:
        t.flags &= ~HEARTBEAT_TAG_FAILED
        t.vtag[dir] = vtag
        t.vtag[1 - dir] = 0
    return TAG_OK


cdef int sctp_packet(Conntrack* c, Entry* e, Packet* p, uint32_t dataoff, int dir, bint at_prerouting) noexcept nogil:
    """Walk the chunks; each moves the association's state as the table says."""
    cdef SctpTrack* t = &e.track.sctp
    cdef Chunks w
    cdef uint32_t vtag, seen, first = dataoff + 12, known
    cdef int old, new = S_NO, tag
    cdef bint ignore = False, confirmed = (e.status & IPS_CONFIRMED) != 0
    if p.len < first or p.avail < first:
        return TRACK_INVALID
    if looks_at_sums(c, p, at_prerouting) and not sctp_crc_ok(p, dataoff):
        return TRACK_INVALID
    if not sctp_chunks_ok(p, first, &seen):
        return TRACK_INVALID
    vtag = be32(p.data + dataoff + 4)
    if not confirmed:
        # RFC 9260 8.4: these open nothing
        if seen & (1 << C_ABORT | 1 << C_SHUTDOWN_COMPLETE | 1 << C_COOKIE_ACK) or not sctp_new(t, p, first, vtag):
            return TRACK_INVALID
    if vtag != t.vtag[dir] and not seen & (
            1 << C_INIT | 1 << C_SHUTDOWN_COMPLETE | 1 << C_COOKIE_ECHO | 1 << C_ABORT | 1 << C_SHUTDOWN_ACK
            | 1 << C_HEARTBEAT | 1 << C_HEARTBEAT_ACK):
        return TRACK_INVALID
    w.p = p
    w.off = first
    while next_chunk(&w):
        tag = sctp_tag(t, &w, vtag, dir, seen & 1 << C_DATA != 0, ignore)
        if tag == TAG_WRONG:
            return TRACK_INVALID
        if tag == TAG_SKIP:
            ignore = True
            continue
        old = e.state
        new = sctp_next(dir, old, w.kind)
        if new == S_IV:
            return TRACK_INVALID
        if w.kind == C_INIT:
            if not w.has_tag:
                return TRACK_INVALID
            if not confirmed or w.tag != t.vtag[1 - dir]:   # with the tag that is known it begins nothing anew
                if t.init[dir] and t.init[1 - dir]:
                    t.init[1 - dir] = 0
                t.init[dir] = 1
                t.vtag[1 - dir] = w.tag
            if new == S_CL and old == S_CL and confirmed:
                ignore = True                           # a repeated INIT does not keep the entry alive
        elif w.kind == C_INIT_ACK:
            known = t.vtag[1 - dir]
            if not w.has_tag or not t.init[1 - dir] and known != 0 and known != w.tag:
                return TRACK_INVALID
            if t.init[dir] and t.init[1 - dir] and known != w.tag:
                return TRACK_INVALID                    # INITs crossed and this answers neither
            t.vtag[1 - dir] = w.tag
        elif w.kind == C_COOKIE_ACK:
            t.init[0] = t.init[1] = 0                   # the handshake is over
        e.state = new
        if old != new and new == S_ES:
            e.status |= IPS_ASSURED
    if ignore:
        return TRACK_UNCOUNTED
    refresh(c, e, c.sysctl.sctp[new])
    return TRACK_ACCEPT
