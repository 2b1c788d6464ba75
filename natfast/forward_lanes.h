/* `forward_known` (fastpath.pxd) for as many packets at once as a vector has lanes; included for each vector unit. */
/* Is sequence number `a` after `b`? */
NATFAST_INLINE lanes NATFAST_W(after)(u32v a, u32v b) { return NATFAST_W(negative)(b - a); }

/* What a TCP segment must be to pass, and what it leaves in its entry. `learn_window`, `count_retransmission` and
 * `tcp_timeout` (tcp.pxd) are the same in scalar code; the names are theirs. */
typedef struct {
    u32v sent[4], heard[4];             /* Seen of the segment's sender and of the other side: end, maxend, maxwin, maxack */
    u32v scale, own, others;            /* one byte each */
    u32v last[4];                       /* last_seq, last_ack, last_end, then last_win | last_index << 16 | last_dir << 24 */
    u32v retrans;
    u32v timeout;
} NATFAST_W(segment);

NATFAST_INLINE lanes NATFAST_W(plain_ack)(NATFAST_W(segment) *s, const u32v th[6], u32v length, u32v dir, const natfast_ordinary *o)
{
    u32v *sent = s->sent, *heard = s->heard;
    u32v seq = NATFAST_W(be32)(th[1]), ack = NATFAST_W(be32)(th[2]);
    u32v header = (th[3] & 0xF0) >> 2, end = seq + length - header;
    u32v raw = NATFAST_W(be16)(th[3] >> 16), win = raw << s->scale;
    u32v ackwin = NATFAST_W(max)(sent[2], NATFAST_W(each)(66000));
    lanes is_ack = NATFAST_W(is)(th[3] & (0xFF & ~NATFAST_TCP_PSH) << 8, NATFAST_TCP_ACK << 8) & ~NATFAST_W(negative)(length - 20);
    /* SACK blocks can be only where there are options other than a timestamp alone */
    lanes plain = NATFAST_W(is)(header, 20) | (~NATFAST_W(negative)((header - 21) | (length - header))
                & (NATFAST_W(is)(s->others & NATFAST_SACK_PERM, 0) | NATFAST_W(is)((header ^ 32) | (th[5] ^ 0x0A080101), 0)));
    /* the four bounds hold if all these differences are negative; a window of 0 is one not yet known */
    lanes inside = NATFAST_W(negative)((seq - (sent[1] + 1)) & (ack - (heard[0] + 1)) & (sent[0] - heard[2] - 1 - end) & (heard[0] - ackwin - 1 - ack)
                                       & ~(sent[2] - 1) & ~(heard[2] - 1));
    /* the window */
    lanes more = NATFAST_W(after)(end, sent[0]), further = NATFAST_W(after)(end, sent[1]);
    u32v top = ack + win;
    lanes newer = NATFAST_W(is)(s->own & NATFAST_MAXACK_SET, 0) | NATFAST_W(after)(ack, sent[3]);
    heard[2] += NATFAST_W(keep)(further, end - sent[1]);
    heard[1] = NATFAST_W(select)(NATFAST_W(after)(top, heard[1] - 1), top + NATFAST_W(keep)(NATFAST_W(is)(win, 0), NATFAST_W(each)(1)), heard[1]);
    s->others &= ~NATFAST_W(keep)(NATFAST_W(equal)(ack, heard[0]), NATFAST_W(each)(NATFAST_UNACKED));
    s->own |= NATFAST_W(keep)(more, NATFAST_W(each)(NATFAST_UNACKED)) | NATFAST_MAXACK_SET;
    sent[2] = NATFAST_W(max)(sent[2], win);
    sent[0] = NATFAST_W(select)(more, end, sent[0]);
    sent[3] = NATFAST_W(select)(newer, ack, sent[3]);
    /* the same ACK again? */
    u32v rest = raw | dir << 24 | NATFAST_EV_ACK << 16;
    lanes again = NATFAST_W(is)((s->last[0] ^ seq) | (s->last[1] ^ ack) | (s->last[2] ^ end) | ((s->last[3] ^ rest) & 0xFF00FFFF), 0);
    s->retrans = NATFAST_W(keep)(again, NATFAST_W(min)(s->retrans + 1, NATFAST_W(each)(255)));
    s->last[0] = seq;
    s->last[1] = ack;
    s->last[2] = end;
    s->last[3] = rest;
    /* the timeout */
    lanes settled = NATFAST_W(is)((s->own | s->others) & NATFAST_UNACKED, 0) | NATFAST_W(all)(o->tcp <= o->tcp_unack);
    lanes repeated = NATFAST_W(at_least)(s->retrans, NATFAST_W(each)(o->tcp_max_retrans)) & NATFAST_W(all)(o->tcp > o->tcp_retrans);
    s->timeout = NATFAST_W(select)(NATFAST_W(is)(raw, 0), NATFAST_W(each)(o->tcp_shut), NATFAST_W(each)(o->tcp));
    s->timeout = NATFAST_W(select)(settled, s->timeout, NATFAST_W(each)(o->tcp_unack));
    s->timeout = NATFAST_W(select)(repeated, NATFAST_W(each)(o->tcp_retrans), s->timeout);
    return plain & inside & is_ack;
}

/* Ask for an eighth of what will be needed. */
NATFAST_INLINE void NATFAST_W(ask)(const natfast_soon *soon, uint32_t first, uint32_t eighth)
{
    for (uint32_t k = first + eighth * NATFAST_LANES / 8; k < first + (eighth + 1) * NATFAST_LANES / 8; k++) {
        natfast_prefetch(soon->entry[k]);
        natfast_prefetch(soon->entry[k] + 64);
        natfast_prefetch(soon->bucket[k]);
    }
}

/* See natfast_established_many: of the packets from `first` on. */
__attribute__((target(NATFAST_TARGET)))
static uint32_t NATFAST_W(established)(const natfast_ordinary *o, natfast_packets *g, uint32_t known, const natfast_soon *soon, uint32_t first)
{
    uint8_t *const *ip = g->ip + first, *entry[NATFAST_LANES];
    uint32_t check[NATFAST_LANES], check_at[NATFAST_LANES], k, wanted, done;
    const uint32_t everybody = (1U << NATFAST_LANES) - 1;
    u32v ref = NATFAST_W(load)(g->ref + first), now = NATFAST_W(load)(g->now + first), w[NATFAST_BYTES / 4];

    /* of packets of one connection the first must be done before the others are looked at: differing in the direction at most */
    u32v closest = NATFAST_W(each)(2);
    for (k = 1; k < first + NATFAST_LANES; k++)
        closest = NATFAST_W(min)(closest, ref ^ NATFAST_W(load)(g->ref + first - k));
    known = known >> first & everybody;
    wanted = known & NATFAST_W(bits)(NATFAST_W(is)(closest, 2));
    if (2 * __builtin_popcount(wanted) <= NATFAST_LANES) {
        for (uint32_t eighth = 0; eighth < 8; eighth++)
            NATFAST_W(ask)(soon, first, eighth);
        g->doubt = 1;
        return 0;
    }
    NATFAST_W(ask)(soon, first, 0);
    lanes reply = ~NATFAST_W(is)(ref & 1, 0);

    for (k = 0; k < NATFAST_BYTES / 4; k++)         /* IP's five words, then the transport's */
        w[k] = NATFAST_W(load)(g->words[k] + first);
    u32v n = NATFAST_W(load)(g->length + first) - 20;
    lanes tcp = NATFAST_W(is)(w[2] & 0xFF00, NATFAST_IPPROTO_TCP << 8), sound = NATFAST_W(lanes_of)(g->sound >> first);
    NATFAST_W(ask)(soon, first, 1);

    /* the entries: both tuples, protocol | state << 8 | status << 16, when it expires */
    u32v e[8];
    NATFAST_W(load_columns)(g->entry + first, 0, e);
    NATFAST_W(ask)(soon, first, 2);
    NATFAST_W(load_columns)(g->entry + first, 16, e + 4);
    NATFAST_W(ask)(soon, first, 3);
    u32v kind = e[6], expires = e[7], ports = NATFAST_W(be32)(w[5]);
    u32v back_src = NATFAST_W(select)(reply, e[0], e[3]), back_dst = NATFAST_W(select)(reply, e[1], e[4]);
    u32v back_ports = NATFAST_W(select)(reply, e[2], e[5]);
    u32v must = NATFAST_W(select)(tcp, NATFAST_W(each)(o->tcp_kind), NATFAST_W(each)(o->udp_kind));
    u32v matters = NATFAST_W(select)(tcp, NATFAST_W(each)(o->tcp_kind_mask), NATFAST_W(each)(o->udp_kind_mask));
    lanes live = NATFAST_W(is)((NATFAST_W(be32)(w[3]) ^ NATFAST_W(select)(reply, e[3], e[0]))
                               | (NATFAST_W(be32)(w[4]) ^ NATFAST_W(select)(reply, e[4], e[1]))
                               | ((ports << 16 | ports >> 16) ^ NATFAST_W(select)(reply, e[5], e[2]))
                               | ((kind ^ must) & o->live_kind_mask), 0)
               & NATFAST_W(negative)(now - expires);
    /* behind a packet of nobody knows which connection nothing is certain: it may be of the same */
    uint32_t doubtful = known & ~NATFAST_W(bits)(live);
    g->doubt |= doubtful;
    wanted &= (doubtful & -doubtful) - 1;
    memcpy(entry, g->entry + first, sizeof entry);
    for (uint32_t others = wanted ^ everybody; others; others &= others - 1)
        entry[__builtin_ctz(others)] = o->nobody;
    NATFAST_W(ask)(soon, first, 4);

    /* the trackers */
    u32v seen[8], last[8];
    NATFAST_W(load_columns)(entry, 64, seen);
    NATFAST_W(load_columns)(entry, 80, seen + 4);
    NATFAST_W(load_columns)(entry, 96, last);
    NATFAST_W(load_columns)(entry, 112, last + 4);
    NATFAST_W(ask)(soon, first, 5);
    NATFAST_W(segment) s;
    u32v flags[2] = {last[0] >> 16 & 0xFF, last[0] >> 24};
    for (k = 0; k < 4; k++) {
        s.sent[k] = NATFAST_W(select)(reply, seen[4 + k], seen[k]);
        s.heard[k] = NATFAST_W(select)(reply, seen[k], seen[4 + k]);
        s.last[k] = last[1 + k];
    }
    s.scale = NATFAST_W(select)(reply, last[0] >> 8 & 0xFF, last[0] & 0xFF);
    s.own = NATFAST_W(select)(reply, flags[1], flags[0]);
    s.others = NATFAST_W(select)(reply, flags[0], flags[1]);
    s.retrans = last[5] >> 16 & 0xFF;
    lanes segment_ok = NATFAST_W(plain_ack)(&s, w + 5, n, ref & 1, o);
    NATFAST_W(ask)(soon, first, 6);
    u32v datagram = NATFAST_W(be16)(w[6]), udp_check = w[6] >> 16;
    lanes datagram_ok = ~NATFAST_W(negative)((datagram - 8) | (n - datagram));
    lanes streaming = ~tcp & NATFAST_W(less)(NATFAST_W(each)(0), now - seen[0]);

    lanes ok = live & NATFAST_W(is)((kind ^ must) & matters, 0) & ~NATFAST_W(negative)((w[2] & 0xFF) - 2) & NATFAST_W(lanes_of)(wanted & g->whole >> first)
             & ((tcp & segment_ok & sound) | (~tcp & datagram_ok & (sound | NATFAST_W(is)(udp_check, 0))));
    done = NATFAST_W(bits)(ok);
    NATFAST_W(ask)(soon, first, 7);
    if (!done)
        return 0;

    /* what the entries keep of it */
    u32v when = now + NATFAST_W(select)(tcp, s.timeout, NATFAST_W(select)(streaming, NATFAST_W(each)(o->udp_stream), NATFAST_W(each)(o->udp)));
    g->sooner |= (NATFAST_W(bits)(NATFAST_W(negative)(when - expires)) & done) << first;
    e[6] |= NATFAST_W(keep)(streaming & ok, NATFAST_W(each)(o->assured));
    e[7] = NATFAST_W(select)(ok, when, expires);
    for (k = 4; k < 8; k++)                         /* nobody gets nothing of those whose turn is not now */
        e[k] = NATFAST_W(keep)(NATFAST_W(lanes_of)(wanted), e[k]);
    NATFAST_W(store_columns)(entry, 16, e + 4);
    tcp &= ok;
    for (k = 0; k < 4; k++) {
        seen[k] = NATFAST_W(select)(tcp, NATFAST_W(select)(reply, s.heard[k], s.sent[k]), seen[k]);
        seen[4 + k] = NATFAST_W(select)(tcp, NATFAST_W(select)(reply, s.sent[k], s.heard[k]), seen[4 + k]);
        last[1 + k] = NATFAST_W(select)(tcp, s.last[k], last[1 + k]);
    }
    flags[0] = NATFAST_W(select)(reply, s.others, s.own);
    flags[1] = NATFAST_W(select)(reply, s.own, s.others);
    last[0] = NATFAST_W(select)(tcp, (last[0] & 0xFFFF) | flags[0] << 16 | flags[1] << 24, last[0]);
    last[5] = NATFAST_W(select)(tcp, (last[5] & 0xFF00FFFF) | s.retrans << 16, last[5]);
    NATFAST_W(store_columns)(entry, 64, seen);
    NATFAST_W(store_columns)(entry, 80, seen + 4);
    NATFAST_W(store_columns)(entry, 96, last);
    NATFAST_W(store_columns)(entry, 112, last + 4);

    /* as it leaves, its source is the other tuple's destination; sums as RFC 1624 has them, less what goes and plus what comes */
    u32v header[4] = {w[2], NATFAST_W(be32)(back_dst), NATFAST_W(be32)(back_src), NATFAST_W(be32)(back_ports)};
    u32v change = NATFAST_W(halves)(w[3]) + NATFAST_W(halves)(w[4]) + (4 * 0xFFFF - NATFAST_W(halves)(header[1]) - NATFAST_W(halves)(header[2]));
    u32v old = NATFAST_W(select)(tcp, w[9] & 0xFFFF, udp_check);
    u32v fresh = NATFAST_W(residue)(old + change + NATFAST_W(halves)(w[5]) + (2 * 0xFFFF - NATFAST_W(halves)(header[3])));
    /* of the two zeros UDP takes one, all else the other; and its 0 stands for none */
    fresh = NATFAST_W(select)(~tcp & NATFAST_W(is)(fresh, 0), NATFAST_W(each)(0xFFFF), fresh);
    NATFAST_W(store)(check, NATFAST_W(select)(~NATFAST_W(is)(kind & o->nat_mask, 0) & (tcp | ~NATFAST_W(is)(old, 0)), fresh, old));
    NATFAST_W(store)(check_at, 26 + NATFAST_W(keep)(tcp, NATFAST_W(each)(36 - 26)));
    header[0] = ((w[2] & 0xFFFF) - 1) | NATFAST_W(residue)((w[2] >> 16) + 1 + change) << 16;
    uint8_t others[NATFAST_BYTES], *row[NATFAST_LANES];
    memcpy(row, ip, sizeof row);
    for (uint32_t left = done ^ everybody; left; left &= left - 1) {
        row[__builtin_ctz(left)] = others;
        entry[__builtin_ctz(left)] = o->nobody;
    }
    NATFAST_W(store_columns)(row, 8, header);
    for (k = 0; k < NATFAST_LANES; k++) {           /* of all alike, those that are not done nowhere: foretelling would often fail */
        uint32_t dir = g->ref[first + k] & 1;
        ((uint32_t *)entry[k])[10 + dir] += 1;
        ((uint64_t *)entry[k])[6 + dir] += g->length[first + k];
        natfast_store16(row[k] + check_at[k], (uint16_t)check[k]);
    }
    return done << first;
}
