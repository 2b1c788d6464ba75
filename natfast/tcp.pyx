"""TCP connection tracking (Linux 6.18, measured; states after van Rooij, "Real stateful TCP packet
filtering in IP Filter", 2001).

The tracker sits in the middle of a connection. It sees what each side sends, not what it receives, so
it follows the *possible* states of both ends and lets through what may be legal: a packet that is
INVALID for the table is not dropped here, it only goes on without a connection, and NAT leaves it alone.
"""
from libc.stdint cimport uint8_t, uint32_t
from natfast.headers cimport (IPPROTO_TCP, TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG, TCPOPT_SACK, TCPOPT_SACK_PERM,
                              TCPOPT_WINDOW, after, be16, be32, before, tcp_option_first, tcp_option_next)
from natfast.packet cimport Packet
from natfast.state cimport Conntrack, TRACK_ACCEPT, TRACK_INVALID, TRACK_REPEAT, TRACK_UNCOUNTED
from natfast.sysctl cimport TIMEOUT_UNACK
from natfast.table cimport (Entry, IPS_ASSURED, IPS_CONFIRMED, IPS_FIXED_TIMEOUT, IPS_SEEN_REPLY, Seen,
                            TcpTrack, set_expiry, table_unlink)
from natfast.trackers cimport sum_accepted
from libc.string cimport memset

STATES = ("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK",
          "TIME_WAIT", "CLOSE", "SYN_SENT2")

# The table. Rows are what a packet is, columns the state it finds, cells the state it leaves:
#   sNO none        sSS SYN seen      sSR SYN-ACK seen   sES established   sFW one FIN seen
#   sCW that FIN acknowledged   sLA second FIN seen   sTW last ACK seen   sCL reset
#   sS2 SYN seen both ways (simultaneous open)
#   sIG let pass, learn nothing but remember it       sIV invalid: goes on untracked
# A packet is the first of RST, SYN-ACK, SYN, FIN, ACK that its flags contain, else none.
sNO, sSS, sSR, sES, sFW, sCW, sLA, sTW, sCL, sS2, sIV, sIG = range(12)
ORIGINAL_TABLE = (
    #  sNO  sSS  sSR  sES  sFW  sCW  sLA  sTW  sCL  sS2
    # syn: opens; repeats while opening; after the end it may reopen (sTW, sCL: port reuse). In between it is
    # let pass (sIG): if our entry is stale the server's answer will tell.
    (sSS, sSS, sIG, sIG, sIG, sIG, sIG, sSS, sSS, sS2),
    # syn-ack from the opener: only the answer to a crossing SYN (sS2), or its repeat (sSR)
    (sIV, sIV, sSR, sIV, sIV, sIV, sIV, sIV, sIV, sSR),
    # fin: needs an answered SYN (sIV before). The second one, from either side, is sLA; repeats change nothing.
    (sIV, sIV, sFW, sFW, sLA, sLA, sLA, sTW, sCL, sIV),
    # ack: from nothing it is a connection picked up midway (sES). In sSS it would ack what was not sent.
    # Any ACK after the FINs is taken for theirs; the window check refuses what cannot be.
    (sES, sIV, sES, sES, sCW, sCW, sTW, sTW, sCL, sIV),
    # rst: ends everything that exists; tcp_packet looks at its sequence number first
    (sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL),
    # none of these: never legal
    (sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV))
REPLY_TABLE = (
    # syn: crosses ours (sS2), or the other side reopens after TIME_WAIT (sSS); else it cannot belong here
    (sIV, sS2, sIV, sIV, sIV, sIV, sIV, sSS, sIV, sS2),
    # syn-ack: answers the SYN; later ones are repeats, or answer a SYN we let pass (sIG)
    (sIV, sSR, sIG, sIG, sIG, sIG, sIG, sIG, sIG, sSR),
    # fin: as above; in sSS nobody has answered yet
    (sIV, sIV, sFW, sFW, sLA, sLA, sLA, sTW, sCL, sIV),
    # ack: in sSS a challenge to a SYN on a connection the server still has (sIG); in sSR it stays half open
    # until the opener's ACK
    (sIV, sIG, sSR, sES, sCW, sCW, sTW, sTW, sCL, sIG),
    (sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL),
    (sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV))

cdef uint8_t TABLE[2][6][10]
cdef uint8_t VALID_FLAGS[64]


cdef int _compile() except -1:
    cdef int d, i, j
    for d, table in enumerate((ORIGINAL_TABLE, REPLY_TABLE)):
        for i, row in enumerate(table):
            for j, cell in enumerate(row):
                TABLE[d][i][j] = cell
    memset(VALID_FLAGS, 0, sizeof(VALID_FLAGS))
    for i in (TCP_SYN, TCP_SYN | TCP_URG, TCP_SYN | TCP_ACK, TCP_RST, TCP_RST | TCP_ACK, TCP_FIN | TCP_ACK,
              TCP_FIN | TCP_ACK | TCP_URG, TCP_ACK, TCP_ACK | TCP_URG):
        VALID_FLAGS[i] = 1
    return 0

_compile()


cdef inline int event_of(uint32_t flags) noexcept nogil:
    if flags & TCP_RST:
        return EV_RST
    if flags & TCP_SYN:
        return EV_SYNACK if flags & TCP_ACK else EV_SYN
    if flags & TCP_FIN:
        return EV_FIN
    if flags & TCP_ACK:
        return EV_ACK
    return EV_NONE


cdef bint tcp_can_early_drop(const Entry* e) noexcept nogil:
    """Closing connections may be evicted from a full table although they are ASSURED."""
    return (e.state == TCP_FIN_WAIT or e.state == TCP_LAST_ACK or e.state == TCP_TIME_WAIT
            or e.state == TCP_CLOSE or e.state == TCP_CLOSE_WAIT)


cdef inline bint has_options(const uint8_t* th) noexcept nogil:
    return (th[12] >> 4) > 5


cdef void tcp_read_options(const uint8_t* th, TcpTrack* t, int side) noexcept nogil:
    """Window scale and SACK-permitted of a SYN; one without any options leaves what is known."""
    cdef int left
    cdef const uint8_t* o
    if not has_options(th):
        return
    t.scale[side] = 0
    t.flags[side] &= BE_LIBERAL
    o = tcp_option_first(th, &left)
    while o != NULL:
        if o[0] == TCPOPT_SACK_PERM and o[1] == 2:
            t.flags[side] |= SACK_PERM
        elif o[0] == TCPOPT_WINDOW and o[1] == 3:
            t.scale[side] = o[2] if o[2] <= 14 else 14
            t.flags[side] |= WINDOW_SCALE
        o = tcp_option_next(o, &left)


cdef uint32_t highest_sack(const uint8_t* th, uint32_t ack) noexcept nogil:
    """The right edge of the highest SACK block (RFC 2018), or `ack` if it is higher."""
    cdef int left, i
    cdef uint32_t edge
    cdef const uint8_t* o = tcp_option_first(th, &left)
    while o != NULL:
        if o[0] == TCPOPT_SACK and o[1] >= 10 and (o[1] - 2) % 8 == 0:
            for i in range(2, o[1], 8):
                edge = be32(o + i + 4)
                if after(edge, ack):
                    ack = edge
            return ack
        o = tcp_option_next(o, &left)
    return ack


cdef void init_sender(TcpTrack* t, int dir, const uint8_t* th, uint32_t end, uint32_t win) noexcept nogil:
    """A SYN tells everything about its sender (RFC 7323: scaling only if both sides offer it)."""
    cdef Seen* s = &t.seen[dir]
    s.end = end
    s.maxend = end
    s.maxwin = win if win != 0 else 1
    tcp_read_options(th, t, dir)
    if dir == 1 and not (t.flags[0] & t.flags[1] & WINDOW_SCALE):
        t.scale[0] = 0
        t.scale[1] = 0


cdef enum:                      # Window
    WINDOW_ACCEPT = 0
    WINDOW_INVALID = 1
    WINDOW_IGNORE = 2           # pass, but learn nothing


cdef int in_window(Conntrack* c, Entry* e, int dir, int event, const uint8_t* th, uint32_t seq,
                   uint32_t end) noexcept nogil:
    """Is the segment within what the other side allows? Updates what is known of both.

    Upper bounds are strict (I: seq <= sender's maxend; III: ack <= receiver's end). Below the lower
    bounds (II, IV) a packet is passed without being learnt from.
    """
    cdef TcpTrack* t = &e.track.tcp
    cdef Seen* s = &t.seen[dir]
    cdef Seen* r = &t.seen[1 - dir]
    cdef uint32_t flags = th[13]
    cdef uint32_t ack = be32(th + 8)
    cdef uint32_t sack = ack
    cdef uint32_t raw = be16(th + 14)
    cdef uint32_t swin, overshot, ackwin
    cdef bint liberal
    cdef int verdict = WINDOW_ACCEPT

    if t.flags[1 - dir] & SACK_PERM and has_options(th):
        sack = highest_sack(th, ack)
    if s.maxwin == 0:
        if flags & TCP_SYN:
            init_sender(t, dir, th, end, raw)
            if not flags & TCP_ACK:
                return WINDOW_ACCEPT            # simultaneous open
        else:
            # midway: take the packet's word
            s.end = end
            swin = raw << t.scale[dir]
            s.maxwin = swin if swin != 0 else 1
            s.maxend = end + s.maxwin
            if r.maxwin == 0:
                r.end = sack
                r.maxend = sack
            elif sack == r.end + 1:
                r.end += 1                      # answer to a keepalive
    elif flags & TCP_SYN and after(end, s.end) and (e.state == TCP_SYN_SENT or e.state == TCP_SYN_RECV):
        init_sender(t, dir, th, end, raw)       # a new attempt with another ISN
        if dir == 1 and not flags & TCP_ACK:
            return WINDOW_ACCEPT

    if not flags & TCP_ACK:
        ack = r.end
        sack = ack
    elif flags & TCP_RST and ack == 0:          # some stacks set ACK in RST with no number
        ack = r.end
        sack = ack
    if flags & TCP_RST and seq == 0 and e.state == TCP_SYN_SENT:
        seq = s.end                             # RST answering a SYN
        end = seq

    ackwin = s.maxwin if s.maxwin > 66000 else 66000
    if not before(seq, s.maxend + 1):
        overshot = end - s.maxend + 1
        verdict = WINDOW_INVALID
        if (r.maxwin != 0 and after(end, s.end - r.maxwin - 1) and after(sack, r.end - ackwin - 1)
                and overshot <= r.maxwin and before(sack, r.end + 1)):
            # sent more than allowed, by less than one more window: pass, and expect its acknowledgement
            s.end = end
            t.flags[dir] |= UNACKED
            verdict = WINDOW_IGNORE
    elif not before(sack, r.end + 1):
        verdict = WINDOW_INVALID
    elif r.maxwin != 0 and not after(end, s.end - r.maxwin - 1):
        verdict = WINDOW_IGNORE
    elif not after(sack, r.end - ackwin - 1):
        verdict = WINDOW_IGNORE
    if verdict != WINDOW_ACCEPT:
        liberal = (t.flags[dir] & BE_LIBERAL) != 0 or c.sysctl.tcp_be_liberal != 0
        return WINDOW_ACCEPT if liberal else verdict

    learn_window(s, r, &t.flags[dir], &t.flags[1 - dir], flags, ack, sack, end, raw if flags & TCP_SYN else raw << t.scale[dir])
    if event == EV_ACK:
        count_retransmission(t, dir, seq, ack, end, raw)
    return WINDOW_ACCEPT


cdef inline bint established(const Entry* e) noexcept nogil:
    return e.state == TCP_ESTABLISHED and e.status & IPS_ASSURED != 0


cdef void handle_invalid(Conntrack* c, Entry* e, int dir, int event) noexcept nogil:
    """A FIN or RST out of window on each side: the two ends agree to be done, so don't wait five days."""
    cdef TcpTrack* t = &e.track.tcp
    cdef int left
    if not e.status & IPS_ASSURED or e.status & IPS_FIXED_TIMEOUT:
        return
    if event != EV_RST and event != EV_FIN:
        return
    if t.last_dir != dir and (t.last_index == EV_FIN or t.last_index == EV_RST):
        left = <int>(e.expires - c.now)
        if left >= 120000 and <uint32_t>left > c.sysctl.tcp[TIMEOUT_UNACK]:
            set_expiry(&c.table, e, c.now + c.sysctl.tcp[TIMEOUT_UNACK])
    else:
        t.last_index = event
        t.last_dir = dir


cdef enum:                      # Reset
    RESET_WINDOW = 0            # whether it counts, its window says
    RESET_ACCEPT = 1
    RESET_INVALID = 2


cdef int reset(Conntrack* c, const Entry* e, int dir, uint32_t seq, uint32_t ack, int* new) noexcept nogil:
    """What a RST's numbers say, before its window is looked at (RFC 5961 3.2 for the exact match)."""
    cdef const TcpTrack* t = &e.track.tcp
    cdef int old = e.state
    if tcp_can_early_drop(e):
        return RESET_ACCEPT                     # closing: the tuple may be in use again, what we know is old
    if t.flags[1 - dir] & MAXACK_SET and t.last_index != EV_SYN:
        if seq == 0 and not established(e):
            return RESET_WINDOW
        if before(seq, t.seen[1 - dir].maxack) and not c.sysctl.tcp_ignore_invalid_rst:
            return RESET_INVALID
        if not established(e) or seq == t.seen[1 - dir].maxack:
            return RESET_WINDOW
        if t.last_index == EV_ACK and t.last_dir == dir and seq == t.last_end:
            return RESET_WINDOW                 # follows the data it resets
        new[0] = old                            # not exact: the peer may answer with a challenge ACK
    if (((e.status & IPS_SEEN_REPLY and t.last_index == EV_SYN and t.last_dir != dir)
            or (not e.status & IPS_ASSURED and t.last_index == EV_ACK)) and ack == t.last_end):
        return RESET_ACCEPT                     # answers a SYN or ACK that we let pass
    if old == TCP_SYN_SENT and t.last_index == EV_ACK and t.last_dir == 1 and seq == t.last_ack:
        return RESET_ACCEPT                     # answers a challenge ACK that we let pass
    return RESET_WINDOW


cdef bint picked_up(Conntrack* c, Entry* e, const uint8_t* th, uint32_t end, int event) noexcept nogil:
    """The first packet seen of a connection is none that opens one; False if it cannot be of one that is under way."""
    cdef TcpTrack* t = &e.track.tcp
    cdef uint32_t win = be16(th + 14)
    if TABLE[0][event][TCP_NONE] >= TCP_INVALID or not c.sysctl.tcp_loose:
        return False
    t.seen[0].end = end
    t.seen[0].maxwin = win if win != 0 else 1
    t.seen[0].maxend = end + t.seen[0].maxwin
    t.flags[0] = SACK_PERM | BE_LIBERAL
    t.flags[1] = SACK_PERM | BE_LIBERAL
    t.last_index = EV_NONE
    return True


cdef int tcp_packet(Conntrack* c, uint32_t ei, Packet* p, uint32_t dataoff, int dir,
                    bint at_prerouting) noexcept nogil:
    """Track one segment of connection `ei`."""
    cdef Entry* e = &c.table.entries[ei]
    cdef TcpTrack* t = &e.track.tcp
    cdef const uint8_t* th = p.data + dataoff
    cdef uint32_t length = p.len - dataoff
    cdef uint32_t doff, flags, seq, ack, end, timeout
    cdef int event, old, new, verdict
    cdef bint checked = False

    if p.len < dataoff + 20 or p.avail < dataoff + 20:
        return TRACK_INVALID
    doff = (th[12] >> 4) * 4
    if doff < 20 or length < doff or p.avail < dataoff + doff:
        return TRACK_INVALID
    if not sum_accepted(c, p, dataoff, IPPROTO_TCP, at_prerouting):
        return TRACK_INVALID
    flags = th[13]
    if not VALID_FLAGS[flags & 63 & ~TCP_PSH]:
        return TRACK_INVALID
    event = event_of(flags)
    seq = be32(th + 4)
    ack = be32(th + 8)
    end = seq + length - doff + (1 if flags & TCP_SYN else 0) + (1 if flags & TCP_FIN else 0)
    if not e.status & IPS_CONFIRMED:
        if event == EV_SYN:
            tcp_opened(c, e, th, end)
            return TRACK_ACCEPT
        if not picked_up(c, e, th, end, event):
            return TRACK_INVALID

    old = e.state
    new = TABLE[dir][event][old]
    if new == TCP_SYN_SENT and old >= TCP_TIME_WAIT:
        if ((t.flags[0] | t.flags[1]) & CLOSE_INIT) or (t.last_dir == dir and t.last_index == EV_RST):
            table_unlink(&c.table, ei)          # the old connection is over: a fresh entry takes its tuple
            p.owned = True
            return TRACK_REPEAT
        new = TCP_IGNORE
    if new == TCP_IGNORE:
        if (event == EV_SYNACK and t.last_index == EV_SYN and t.last_dir != dir and ack == t.last_end):
            # answers a SYN that we let pass: both ends are in sync and we were not
            old = TCP_SYN_SENT
            new = TCP_SYN_RECV
            t.seen[t.last_dir].end = t.last_end
            t.seen[t.last_dir].maxend = t.last_end
            t.seen[t.last_dir].maxwin = t.last_win if t.last_win != 0 else 1
            t.scale[t.last_dir] = t.last_wscale
            t.last_flags &= ~EXP_CHALLENGE_ACK
            t.flags[t.last_dir] = t.last_flags
            memset(&t.seen[dir], 0, sizeof(Seen))
            t.scale[dir] = 0
            t.flags[dir] = BE_LIBERAL           # measured on a fresh machine: its sender is no longer held to a window
        else:
            t.last_index = event
            t.last_dir = dir
            t.last_seq = seq
            t.last_end = end
            t.last_win = be16(th + 14)
            if event == EV_SYN and dir == 0:
                note_ignored_syn(t, th)
                if old == TCP_LAST_ACK:
                    t.last_flags |= EXP_CHALLENGE_ACK
            if event == EV_ACK and dir == 1:
                t.last_ack = ack                # a challenge ACK: the RST that answers it names this
            return TRACK_UNCOUNTED
    elif new == TCP_INVALID:
        return TRACK_INVALID
    elif new == TCP_TIME_WAIT:
        if (old == TCP_LAST_ACK and event == EV_ACK and t.last_dir != dir and t.last_index == EV_SYN
                and t.last_flags & EXP_CHALLENGE_ACK):
            t.last_flags &= ~EXP_CHALLENGE_ACK
            return TRACK_UNCOUNTED              # RFC 5961 challenge ACK, not the ACK of the last FIN
    elif new == TCP_SYN_SENT2:
        t.last_flags |= SIMULTANEOUS_OPEN
    elif new == TCP_SYN_RECV:
        if dir == 1 and event == EV_ACK and t.last_flags & SIMULTANEOUS_OPEN:
            new = TCP_ESTABLISHED
    elif new == TCP_CLOSE and event == EV_RST:
        verdict = reset(c, e, dir, seq, ack, &new)
        if verdict == RESET_INVALID:
            return TRACK_INVALID
        checked = verdict == RESET_ACCEPT

    if not checked:
        verdict = in_window(c, e, dir, event, th, seq, end)
        if verdict == WINDOW_IGNORE:
            return TRACK_UNCOUNTED
        if verdict == WINDOW_INVALID:
            handle_invalid(c, e, dir, event)
            return TRACK_INVALID

    t.last_index = event
    t.last_dir = dir
    e.state = new
    if old != new and new == TCP_FIN_WAIT:
        t.flags[dir] |= CLOSE_INIT

    timeout = tcp_timeout(c, t, new, event)
    if not e.status & IPS_SEEN_REPLY:
        if flags & TCP_RST:
            # the only answer is a reset: no connection came to be
            if e.status & IPS_CONFIRMED:
                table_unlink(&c.table, ei)      # the packet keeps it until NAT has translated it
                p.owned = True
            return TRACK_ACCEPT
        if event == EV_SYN and old == TCP_SYN_SENT:
            return TRACK_UNCOUNTED              # a repeated SYN does not keep the entry alive
        if new == TCP_ESTABLISHED and timeout > c.sysctl.tcp[TIMEOUT_UNACK]:
            timeout = c.sysctl.tcp[TIMEOUT_UNACK]
    elif (not e.status & IPS_ASSURED and (old == TCP_SYN_RECV or old == TCP_ESTABLISHED)
            and new == TCP_ESTABLISHED):
        e.status |= IPS_ASSURED
    if not e.status & IPS_FIXED_TIMEOUT:
        set_expiry(&c.table, e, c.now + timeout)
    return TRACK_ACCEPT


cdef void tcp_set_closing(Conntrack* c, uint32_t ei) noexcept nogil:
    """The host itself reset the connection (REJECT --reject-with tcp-reset)."""
    cdef Entry* e = &c.table.entries[ei]
    if not e.status & IPS_CONFIRMED:
        return
    e.state = TCP_CLOSE
    if not e.status & IPS_FIXED_TIMEOUT:
        set_expiry(&c.table, e, c.now + c.sysctl.tcp[TCP_CLOSE])


cdef void note_ignored_syn(TcpTrack* t, const uint8_t* th) noexcept nogil:
    """Remember the options of a SYN let pass, in case its SYN-ACK shows that it was real."""
    cdef TcpTrack seen
    seen.scale[0] = 0
    seen.flags[0] = 0
    tcp_read_options(th, &seen, 0)
    t.last_flags = seen.flags[0] & (WINDOW_SCALE | SACK_PERM)
    t.last_wscale = seen.scale[0] if seen.flags[0] & WINDOW_SCALE else 0
