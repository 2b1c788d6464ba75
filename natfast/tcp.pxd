"""TCP connection tracking: the state table and window tracking of Linux 6.18."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from natfast.headers cimport TCP_ACK, after, be16, be32
from natfast.packet cimport Packet
from natfast.state cimport Conntrack
from natfast.sysctl cimport TIMEOUT_RETRANS, TIMEOUT_UNACK
from natfast.table cimport Entry, Seen, TcpTrack, set_expiry
from natfast.wide cimport join8, join16, join32, load64, store64

cdef enum:                      # TcpState
    TCP_NONE = 0
    TCP_SYN_SENT = 1
    TCP_SYN_RECV = 2
    TCP_ESTABLISHED = 3
    TCP_FIN_WAIT = 4
    TCP_CLOSE_WAIT = 5
    TCP_LAST_ACK = 6
    TCP_TIME_WAIT = 7
    TCP_CLOSE = 8
    TCP_SYN_SENT2 = 9
    TCP_INVALID = 10
    TCP_IGNORE = 11

cdef enum:                      # Event
    EV_SYN = 0
    EV_SYNACK = 1
    EV_FIN = 2
    EV_ACK = 3
    EV_RST = 4
    EV_NONE = 5

cdef enum:                      # SideFlag
    WINDOW_SCALE = 0x01
    SACK_PERM = 0x02
    CLOSE_INIT = 0x04           # this side closed first
    BE_LIBERAL = 0x08           # history unknown: no window check
    UNACKED = 0x10              # has sent data that the other side has not acknowledged
    MAXACK_SET = 0x20
    EXP_CHALLENGE_ACK = 0x40    # in last_flags: a SYN in LAST_ACK may be answered by a challenge ACK
    SIMULTANEOUS_OPEN = 0x80    # in last_flags

cdef int tcp_packet(Conntrack* c, uint32_t ei, Packet* p, uint32_t dataoff, int dir, bint at_prerouting) noexcept nogil
cdef void tcp_set_closing(Conntrack* c, uint32_t ei) noexcept nogil
cdef bint tcp_can_early_drop(const Entry* e) noexcept nogil
cdef void tcp_read_options(const uint8_t* th, TcpTrack* t, int side) noexcept nogil


cdef inline void learn_window(Seen* s, Seen* r, uint8_t* own, uint8_t* others, uint32_t flags, uint32_t ack, uint32_t sack,
                              uint32_t end, uint32_t win) noexcept nogil:
    """What a segment that is in window tells of its sender `s` and the receiver `r`, and of their flags; `win` is scaled."""
    cdef uint32_t swin = win + (sack - ack), top = sack + win, known = own[0]
    cdef bint more = after(end, s.end)
    # without branches: traffic does not tell in advance
    s.maxwin = swin if s.maxwin < swin else s.maxwin
    s.end = end if more else s.end
    known |= more * UNACKED
    if flags & TCP_ACK:
        s.maxack = ack if (known & MAXACK_SET == 0) | after(ack, s.maxack) else s.maxack
        known |= MAXACK_SET
    own[0] = <uint8_t>known
    if r.maxwin != 0 and after(end, s.maxend):
        r.maxwin += end - s.maxend
    r.maxend = top + (win == 0) if after(top, r.maxend - 1) else r.maxend
    others[0] = <uint8_t>(others[0] & ~((ack == r.end) * UNACKED))


cdef inline void count_retransmission(TcpTrack* t, int dir, uint32_t seq, uint32_t ack, uint32_t end, uint32_t raw) noexcept nogil:
    """The same ACK segment again? The 16 bytes from `last_seq` to `last_dir` say what the last one was."""
    cdef uint64_t numbers = join32(seq, ack)
    cdef uint64_t rest = join32(end, join16(<uint16_t>raw, join8(EV_ACK, <uint8_t>dir)))
    cdef uint64_t other = (load64(&t.last_seq) ^ numbers) | (load64(&t.last_end) ^ rest) & ~join32(0, join16(0, join8(0xFF, 0)))
    cdef uint32_t again = t.retrans + (t.retrans < 255)
    t.retrans = <uint8_t>(again if other == 0 else 0)
    store64(&t.last_seq, numbers)
    store64(&t.last_end, rest)


cdef inline uint32_t tcp_timeout(const Conntrack* c, const TcpTrack* t, int state, int event) noexcept nogil:
    """The state's timeout, or a shorter one while something is outstanding."""
    cdef uint32_t timeout = c.sysctl.tcp[state]
    if t.retrans >= c.sysctl.tcp_max_retrans and timeout > c.sysctl.tcp[TIMEOUT_RETRANS]:
        return c.sysctl.tcp[TIMEOUT_RETRANS]
    if event == EV_RST:
        return c.sysctl.tcp[TCP_CLOSE]
    if (t.flags[0] | t.flags[1]) & UNACKED and timeout > c.sysctl.tcp[TIMEOUT_UNACK]:
        return c.sysctl.tcp[TIMEOUT_UNACK]
    if t.last_win == 0 and timeout > c.sysctl.tcp[TIMEOUT_RETRANS]:
        return c.sysctl.tcp[TIMEOUT_RETRANS]
    return timeout


cdef inline void tcp_opened(Conntrack* c, Entry* e, const uint8_t* th, uint32_t end) noexcept nogil:
    """A SYN opens the connection of an entry that is all zeros: it tells of its sender, and what the answer may hold."""
    cdef TcpTrack* t = &e.track.tcp
    cdef uint32_t win = be16(th + 14)
    t.seen[0].end = end
    t.seen[0].maxend = end
    t.seen[0].maxwin = win + (win == 0)
    t.seen[1].maxend = win + (win == 0)
    if th[12] >> 4 > 5:
        tcp_read_options(th, t, 0)
    t.last_index = EV_SYN
    e.state = TCP_SYN_SENT
    e.expires = c.now + tcp_timeout(c, t, TCP_SYN_SENT, EV_SYN)


cdef inline bint tcp_plain_ack(Conntrack* c, Entry* e, int dir, const uint8_t* th, uint32_t length) noexcept nogil:
    """An ACK with or without data, in window, of an ASSURED established connection: what `tcp_packet` does to it.

    False, with nothing changed, if it is anything else or `tcp_packet` has to look closer.
    """
    cdef TcpTrack* t = &e.track.tcp
    cdef Seen* s = &t.seen[dir]
    cdef Seen* r = &t.seen[1 - dir]
    cdef uint32_t doff = (th[12] >> 4) * 4, seq = be32(th + 4), ack = be32(th + 8), end = seq + length - doff, raw = be16(th + 14)
    cdef uint32_t ackwin = s.maxwin if s.maxwin > 66000 else 66000, timeout, unacked
    # SACK blocks can be only where there are options other than a timestamp alone
    if doff != 20 and (doff < 20 or doff > length
                       or t.flags[1 - dir] & SACK_PERM and (doff != 32 or be32(th + 20) != 0x0101080A)):
        return False
    # the four bounds hold if all these differences are negative; a window of 0 is one not yet known
    if <int32_t>((seq - (s.maxend + 1)) & (ack - (r.end + 1)) & (s.end - r.maxwin - 1 - end) & (r.end - ackwin - 1 - ack)
                 & ~(s.maxwin - 1) & ~(r.maxwin - 1)) >= 0:
        return False
    learn_window(s, r, &t.flags[dir], &t.flags[1 - dir], TCP_ACK, ack, ack, end, raw << t.scale[dir])
    count_retransmission(t, dir, seq, ack, end, raw)
    if (t.retrans >= c.sysctl.tcp_max_retrans) | (raw == 0):
        timeout = tcp_timeout(c, t, TCP_ESTABLISHED, EV_ACK)
    else:
        timeout = c.sysctl.tcp[TCP_ESTABLISHED]
        unacked = min(timeout, c.sysctl.tcp[TIMEOUT_UNACK])
        timeout = unacked if (t.flags[0] | t.flags[1]) & UNACKED else timeout
    set_expiry(&c.table, e, c.now + timeout)
    return True
