"""UDP, UDP-Lite, ICMP, GRE, SCTP and everything else, as Linux 6.18 tracks them."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from natfast.checksum cimport fold, pseudo_sum, sum_bytes
from natfast.headers cimport ICMP_ADDRESS, ICMP_ECHO, ICMP_INFO_REQUEST, ICMP_TIMESTAMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, be16, be32
from natfast.packet cimport Packet
from natfast.state cimport Conntrack, TRACK_ACCEPT, TRACK_INVALID
from natfast.table cimport Entry, IPS_ASSURED, IPS_CONFIRMED, IPS_FIXED_TIMEOUT, IPS_SEEN_REPLY, SctpTrack
from libc.string cimport memset


cdef inline void refresh(Conntrack* c, Entry* e, uint32_t timeout) noexcept nogil:
    if not e.status & IPS_FIXED_TIMEOUT:
        e.expires = c.now + timeout


cdef int udp_stream(Conntrack* c, Entry* e) noexcept nogil:
    """Traffic both ways that lasts over two seconds is a stream: longer timeout, ASSURED."""
    if not e.status & IPS_CONFIRMED:
        e.track.udp.stream_after = c.now + 2000
    if not e.status & IPS_SEEN_REPLY:
        refresh(c, e, c.sysctl.udp)
    elif <int>(c.now - e.track.udp.stream_after) > 0:
        refresh(c, e, c.sysctl.udp_stream)
        e.status |= IPS_ASSURED
    else:
        refresh(c, e, c.sysctl.udp)
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
    if (be16(uh + 6) != 0 and at_prerouting and c.sysctl.checksum and not p.checksum_ok
            and not l4_checksum_ok(p, dataoff, IPPROTO_UDP)):
        return TRACK_INVALID
    return udp_stream(c, e)


cdef int udplite_packet(Conntrack* c, Entry* e, Packet* p, uint32_t dataoff, bint at_prerouting) noexcept nogil:
    """RFC 3828: the length field is the checksum's coverage, and the checksum is not optional."""
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
    if at_prerouting and c.sysctl.checksum and not p.checksum_ok and fold(
            sum_bytes(uh, present(p, dataoff, coverage)) + pseudo_sum(p.data, IPPROTO_UDPLITE, room)) != 0xFFFF:
        return TRACK_INVALID
    return udp_stream(c, e)


cdef int icmp_packet(Conntrack* c, Entry* e) noexcept nogil:
    cdef uint32_t kind = e.tuple[0].dport >> 8
    if kind != ICMP_ECHO and kind != ICMP_TIMESTAMP and kind != ICMP_INFO_REQUEST and kind != ICMP_ADDRESS:
        return TRACK_INVALID
    refresh(c, e, c.sysctl.icmp)
    return TRACK_ACCEPT


cdef int gre_packet(Conntrack* c, Entry* e) noexcept nogil:
    if e.status & IPS_SEEN_REPLY:
        refresh(c, e, c.sysctl.gre_stream)
        e.status |= IPS_ASSURED
    else:
        refresh(c, e, c.sysctl.gre)
    return TRACK_ACCEPT


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

# Rows: INIT, INIT-ACK, ABORT, SHUTDOWN, SHUTDOWN-ACK, ERROR, COOKIE-ECHO, COOKIE-ACK, SHUTDOWN-COMPLETE,
# HEARTBEAT, HEARTBEAT-ACK, DATA/SACK. Columns: the states above. An association opens in CLOSED and is in
# COOKIE_WAIT once INIT-ACK was seen; ABORT and SHUTDOWN-COMPLETE close; a HEARTBEAT alone opens
# HEARTBEAT_SENT (the second path of a multi-homed association), its answer makes it ESTABLISHED.
sNO, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS, sIV = range(10)
SCTP_ORIGINAL = (
    (sCL, sCL, sCW, sCE, sES, sCL, sCL, sSA, sCW),
    (sCL, sCL, sCW, sCE, sES, sSS, sSR, sSA, sCL),
    (sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL),
    (sCL, sCL, sCW, sCE, sSS, sSS, sSR, sSA, sCL),
    (sSA, sCL, sCW, sCE, sES, sSA, sSA, sSA, sSA),
    (sCL, sCL, sCW, sCE, sES, sSS, sSR, sSA, sCL),
    (sCL, sCL, sCE, sCE, sES, sSS, sSR, sSA, sCL),
    (sCL, sCL, sCW, sES, sES, sSS, sSR, sSA, sCL),
    (sCL, sCL, sCW, sCE, sES, sSS, sSR, sCL, sCL),
    (sHS, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS),
    (sCL, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS),
    (sES, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS))
SCTP_REPLY = (
    (sIV, sCL, sCW, sCE, sES, sSS, sSR, sSA, sIV),
    (sIV, sCW, sCW, sCE, sES, sSS, sSR, sSA, sIV),
    (sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sIV),
    (sIV, sCL, sCW, sCE, sSR, sSS, sSR, sSA, sIV),
    (sIV, sCL, sCW, sCE, sES, sSA, sSA, sSA, sIV),
    (sIV, sCL, sCW, sCL, sES, sSS, sSR, sSA, sIV),
    (sIV, sCL, sCE, sCE, sES, sSS, sSR, sSA, sIV),
    (sIV, sCL, sCW, sES, sES, sSS, sSR, sSA, sIV),
    (sIV, sCL, sCW, sCE, sES, sSS, sSR, sCL, sIV),
    (sIV, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS),
    (sIV, sCL, sCW, sCE, sES, sSS, sSR, sSA, sES),
    (sIV, sCL, sCW, sCE, sES, sSS, sSR, sSA, sES))

cdef uint8_t SCTP_TABLE[2][12][9]
cdef uint8_t SCTP_ROW[16]
cdef uint32_t CRC32C[256]


cdef int _compile() except -1:
    cdef int d, i, j
    cdef uint32_t r
    for d, table in enumerate((SCTP_ORIGINAL, SCTP_REPLY)):
        for i, row in enumerate(table):
            for j, cell in enumerate(row):
                SCTP_TABLE[d][i][j] = cell
    memset(SCTP_ROW, 255, sizeof(SCTP_ROW))
    for i, chunk in enumerate((1, 2, 6, 7, 8, 9, 10, 11, 14, 4, 5)):
        SCTP_ROW[<int>chunk] = i
    SCTP_ROW[0] = 11
    SCTP_ROW[3] = 11
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


cdef int sctp_packet(Conntrack* c, Entry* e, Packet* p, uint32_t dataoff, int dir, bint at_prerouting) noexcept nogil:
    """Walk the chunks; each moves the association's state as the table says."""
    cdef const uint8_t* sh = p.data + dataoff
    cdef const uint8_t* ch
    cdef SctpTrack* t = &e.track.sctp
    cdef uint32_t off, size, vtag
    cdef uint32_t seen = 0
    cdef int row, old, new, count = 0
    if p.len < dataoff + 12 or p.avail < dataoff + 12:
        return TRACK_INVALID
    if at_prerouting and c.sysctl.checksum and not p.checksum_ok and not sctp_crc_ok(p, dataoff):
        return TRACK_INVALID
    vtag = be32(sh + 4)
    off = dataoff + 12
    while off + 4 <= p.avail and off + 4 <= p.len:      # every chunk must have a length (RFC 9260 3.2)
        ch = p.data + off
        size = be16(ch + 2)
        if size == 0 or (ch[0] == 1 or ch[0] == 2 or ch[0] == 14) and count > 0:
            return TRACK_INVALID                        # INIT, INIT-ACK, SHUTDOWN-COMPLETE travel alone
        if ch[0] < 32:
            seen |= <uint32_t>1 << ch[0]
        off += (size + 3) & ~<uint32_t>3
        count += 1
    if count == 0:
        return TRACK_INVALID
    if not e.status & IPS_CONFIRMED:
        if seen & (1 << 6) or seen & (1 << 14) or seen & (1 << 11):
            return TRACK_INVALID                        # ABORT, SHUTDOWN-COMPLETE, COOKIE-ACK open nothing
        memset(t, 0, sizeof(SctpTrack))
        if not seen & (1 << 1):
            t.vtag[1] = vtag
    elif not (seen & ((1 << 1) | (1 << 6) | (1 << 14) | (1 << 10) | (1 << 8) | (1 << 4) | (1 << 5))):
        if vtag != t.vtag[dir]:
            return TRACK_INVALID
    off = dataoff + 12
    old = e.state
    new = old
    while off + 4 <= p.avail and off + 4 <= p.len:
        ch = p.data + off
        size = be16(ch + 2)
        row = SCTP_ROW[ch[0]] if ch[0] < 16 else 255
        off += (size + 3) & ~<uint32_t>3
        if row == 255:
            continue
        if ch[0] == 1 and vtag != 0:
            return TRACK_INVALID
        new = SCTP_TABLE[dir][row][new]
        if new == S_IV:
            return TRACK_INVALID
        if (ch[0] == 1 or ch[0] == 2) and off >= 16 and ch + 8 <= p.data + p.avail:
            t.vtag[1 - dir] = be32(ch + 4)
    e.state = new
    refresh(c, e, c.sysctl.sctp[new])
    if old == S_CE and new == S_ES and dir == 1:
        e.status |= IPS_ASSURED
    return TRACK_ACCEPT
