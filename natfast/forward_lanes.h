/* `tuple_words` and `forward_established` (fastpath.pxd), `compose` and `decompose` (columns.pxd) for eight packets at once;
 * included for each vector unit. */
#include "lanes.h"

/* See natfast_tuples_many. */
__attribute__((target(NATFAST_TARGET)))
static uint32_t NATFAST_W(tuples)(uint8_t *const *ip, const uint32_t *length, uint64_t *m0, uint64_t *m1)
{
    u32v w[4], v[4];            /* from the Ethernet type on, and from the addresses on */
    NATFAST_W(load_columns)(ip, -(size_t)2, w);
    NATFAST_W(load_columns)(ip, 12, v);
    u32v total = NATFAST_W(be16)(w[1]), protocol = w[2] >> 24;
    i32v room = (i32v)NATFAST_W(load)(length) - 14;
    i32v plain = ((w[0] & 0xFFFFFF) == 0x450008) & ((w[2] & 0xFF3F) == 0) & ((i32v)total >= 28) & ((i32v)total <= room)
               & ((protocol == NATFAST_IPPROTO_TCP) | (protocol == NATFAST_IPPROTO_UDP));
    u32v ports = NATFAST_W(be32)(v[2]);
    NATFAST_W(store_pairs)(m0, NATFAST_W(be32)(v[0]), NATFAST_W(be32)(v[1]));
    NATFAST_W(store_pairs)(m1, (ports << 16 | ports >> 16) & (u32v)plain, (protocol | 13U << 24) & (u32v)plain);
    return NATFAST_W(bits)(plain);
}

/* Is sequence number `a` after `b`? */
NATFAST_INLINE i32v NATFAST_W(after)(u32v a, u32v b) { return (i32v)(b - a) < 0; }

/* What a TCP segment must be to pass, and what it leaves in its entry. `learn_window`, `count_retransmission` and
 * `tcp_timeout` (tcp.pxd) are the same in scalar code; the names are theirs. */
typedef struct {
    u32v sent[4], heard[4];             /* Seen of the segment's sender and of the other side: end, maxend, maxwin, maxack */
    u32v scale, own, others;            /* one byte each */
    u32v last[4];                       /* last_seq, last_ack, last_end, then last_win | last_index << 16 | last_dir << 24 */
    u32v retrans;
    u32v timeout;
} NATFAST_W(segment);

NATFAST_INLINE i32v NATFAST_W(plain_ack)(NATFAST_W(segment) *s, const u32v th[6], u32v length, u32v dir, const natfast_ordinary *o)
{
    u32v *sent = s->sent, *heard = s->heard;
    u32v seq = NATFAST_W(be32)(th[1]), ack = NATFAST_W(be32)(th[2]);
    u32v header = (th[3] & 0xF0) >> 2, end = seq + length - header;
    u32v raw = NATFAST_W(be16)(th[3] >> 16), win = raw << s->scale;
    u32v ackwin = NATFAST_W(select)(sent[2] > 66000, sent[2], 66000 - (u32v){0});
    /* SACK blocks can be only where there are options other than a timestamp alone */
    i32v plain = (header == 20) | ((header > 20) & (header <= length)
               & (((s->others & NATFAST_SACK_PERM) == 0) | ((header == 32) & (th[5] == 0x0A080101))));
    /* the four bounds hold if all these differences are negative; a window of 0 is one not yet known */
    i32v inside = (i32v)((seq - (sent[1] + 1)) & (ack - (heard[0] + 1)) & (sent[0] - heard[2] - 1 - end) & (heard[0] - ackwin - 1 - ack)
                         & ~(sent[2] - 1) & ~(heard[2] - 1)) < 0;
    i32v is_ack = (th[3] & (0xFF & ~NATFAST_TCP_PSH) << 8) == NATFAST_TCP_ACK << 8;
    /* the window */
    i32v more = NATFAST_W(after)(end, sent[0]), further = NATFAST_W(after)(end, sent[1]);
    u32v top = ack + win;
    i32v newer = ((s->own & NATFAST_MAXACK_SET) == 0) | NATFAST_W(after)(ack, sent[3]);
    heard[2] += (end - sent[1]) & (u32v)further;
    heard[1] = NATFAST_W(select)(NATFAST_W(after)(top, heard[1] - 1), top + ((u32v)(win == 0) & 1), heard[1]);
    s->others &= ~((u32v)(ack == heard[0]) & NATFAST_UNACKED);
    s->own |= ((u32v)more & NATFAST_UNACKED) | NATFAST_MAXACK_SET;
    sent[2] = NATFAST_W(select)(sent[2] < win, win, sent[2]);
    sent[0] = NATFAST_W(select)(more, end, sent[0]);
    sent[3] = NATFAST_W(select)(newer, ack, sent[3]);
    /* the same ACK again? */
    u32v rest = raw | dir << 24 | NATFAST_EV_ACK << 16;
    i32v again = ((s->last[0] ^ seq) | (s->last[1] ^ ack) | (s->last[2] ^ end) | ((s->last[3] ^ rest) & 0xFF00FFFF)) == 0;
    s->retrans = (s->retrans + ((u32v)(s->retrans < 255) & 1)) & (u32v)again;
    s->last[0] = seq;
    s->last[1] = ack;
    s->last[2] = end;
    s->last[3] = rest;
    /* the timeout */
    i32v outstanding = ((s->own | s->others) & NATFAST_UNACKED) != 0;
    i32v repeated = s->retrans >= o->tcp_max_retrans;
    s->timeout = NATFAST_W(select)(raw == 0, o->tcp_shut - (u32v){0}, o->tcp - (u32v){0});
    s->timeout = NATFAST_W(select)(outstanding & (o->tcp > o->tcp_unack ? -1 : 0), o->tcp_unack - (u32v){0}, s->timeout);
    s->timeout = NATFAST_W(select)(repeated & (o->tcp > o->tcp_retrans ? -1 : 0), o->tcp_retrans - (u32v){0}, s->timeout);
    return plain & inside & is_ack & (length >= 20);
}

/* Ask for two of the entries that will be needed. */
NATFAST_INLINE void NATFAST_W(ask)(uint8_t *const *entry, int first)
{
    for (int k = first; k < first + 2; k++) {
        natfast_prefetch(entry[k]);
        natfast_prefetch(entry[k] + 64);
    }
}

/* See natfast_established_many. */
__attribute__((target(NATFAST_TARGET)))
static uint32_t NATFAST_W(established)(const natfast_ordinary *o, natfast_packets *g, uint32_t wanted, uint8_t *const *later)
{
    uint8_t *const *ip = g->ip;
    uint8_t *entry[NATFAST_MANY];
    uint32_t check[NATFAST_MANY], k, done;
    u32v ref = NATFAST_W(load)(g->ref), now = NATFAST_W(load)(g->now), w[12];

    /* of packets of one connection the first must be done before the others are looked at */
    i32v clash = {0};
    for (k = 1; k < NATFAST_MANY; k++)
        clash |= ((ref ^ NATFAST_W(load)(g->ref - k)) & ~1U) == 0;
    wanted &= ~NATFAST_W(bits)(clash);
    if (2 * __builtin_popcount(wanted) <= NATFAST_MANY)
        return 0;
    memcpy(entry, g->entry, sizeof entry);
    for (uint32_t others = wanted ^ 0xFF; others; others &= others - 1)
        entry[__builtin_ctz(others)] = o->nobody;
    i32v reply = -(i32v)(ref & 1);

    /* the first 48 bytes of the packets, what is past their end as zeros: IP's five words, then the transport's */
    NATFAST_W(load_columns)(ip, 0, w);
    NATFAST_W(load_columns)(ip, 16, w + 4);
    NATFAST_W(load_columns)(ip, 32, w + 8);
    u32v octets = NATFAST_W(be16)(w[0] >> 16), n = octets - 20;
    NATFAST_W(store)(g->length, octets);
    for (k = 7; k < 12; k++)
        w[k] &= NATFAST_W(first_bytes)((i32v)octets - (int32_t)(4 * k));
    NATFAST_W(ask)(later, 0);
    i32v tcp = (w[2] & 0xFF00) == NATFAST_IPPROTO_TCP << 8;

    /* the checksums */
    u32v addresses = NATFAST_W(halves)(w[3]) + NATFAST_W(halves)(w[4]);
    i32v whole = (i32v){0} - (int32_t)o->headers_ok, sound = (i32v){0} - (int32_t)o->transports_ok;
    whole |= NATFAST_W(fold)(addresses + NATFAST_W(halves)(w[0]) + NATFAST_W(halves)(w[1]) + NATFAST_W(halves)(w[2])) == 0xFFFF;
    if (!o->transports_ok) {
        u32v sum = addresses + NATFAST_W(halves)(NATFAST_W(load)(g->beyond)) + (w[2] & 0xFF00) + NATFAST_W(be16)(n);
        for (k = 5; k < 12; k++)
            sum += NATFAST_W(halves)(w[k]);
        sound |= NATFAST_W(fold)(sum) == 0xFFFF;
    }
    NATFAST_W(ask)(later, 2);

    /* the entries: both tuples, protocol | state << 8 | status << 16, when it expires */
    u32v e[8];
    NATFAST_W(load_columns)(entry, 0, e);
    NATFAST_W(load_columns)(entry, 16, e + 4);
    u32v kind = e[6], expires = e[7], ports = NATFAST_W(be32)(w[5]);
    u32v back_src = NATFAST_W(select)(reply, e[0], e[3]), back_dst = NATFAST_W(select)(reply, e[1], e[4]);
    u32v back_ports = NATFAST_W(select)(reply, e[2], e[5]);
    u32v must = NATFAST_W(select)(tcp, o->tcp_kind - (u32v){0}, o->udp_kind - (u32v){0});
    u32v matters = NATFAST_W(select)(tcp, o->tcp_kind_mask - (u32v){0}, o->udp_kind_mask - (u32v){0});
    i32v live = (((NATFAST_W(be32)(w[3]) ^ NATFAST_W(select)(reply, e[3], e[0])) | (NATFAST_W(be32)(w[4]) ^ NATFAST_W(select)(reply, e[4], e[1]))
                | ((ports << 16 | ports >> 16) ^ NATFAST_W(select)(reply, e[5], e[2])) | ((kind ^ must) & o->live_kind_mask)) == 0)
              & ((i32v)(now - expires) < 0);
    /* behind a packet of nobody knows which connection nothing is certain: it may be of the same */
    uint32_t doubtful = wanted & ~NATFAST_W(bits)(live);
    wanted &= (doubtful & -doubtful) - 1;

    /* the trackers */
    u32v seen[8], last[8];
    NATFAST_W(load_columns)(entry, 64, seen);
    NATFAST_W(load_columns)(entry, 80, seen + 4);
    NATFAST_W(load_columns)(entry, 96, last);
    NATFAST_W(load_columns)(entry, 112, last + 4);
    NATFAST_W(ask)(later, 4);
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
    i32v segment_ok = NATFAST_W(plain_ack)(&s, w + 5, n, ref & 1, o);
    u32v datagram = NATFAST_W(be16)(w[6]), udp_check = w[6] >> 16;
    i32v datagram_ok = (datagram >= 8) & (datagram <= n), streaming = ~tcp & ((i32v)(now - seen[0]) > 0);

    i32v ok = live & (((kind ^ must) & matters) == 0) & ((w[2] & 0xFF) > 1) & whole & NATFAST_W(mask_of)(wanted)
            & ((tcp & segment_ok & sound) | (~tcp & datagram_ok & (sound | (udp_check == 0))));
    done = NATFAST_W(bits)(ok);
    if (!done)
        return 0;
    NATFAST_W(ask)(later, 6);

    /* what the entries keep of it */
    u32v when = now + NATFAST_W(select)(tcp, s.timeout, NATFAST_W(select)(streaming, o->udp_stream - (u32v){0}, o->udp - (u32v){0}));
    g->sooner = NATFAST_W(bits)((i32v)(when - expires) < 0) & done;
    e[6] |= (u32v)(streaming & ok) & o->assured;
    e[7] = NATFAST_W(select)(ok, when, expires);
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
    u32v change = addresses + (4 * 0xFFFF - NATFAST_W(halves)(header[1]) - NATFAST_W(halves)(header[2]));
    u32v old = NATFAST_W(select)(tcp, w[9] & 0xFFFF, udp_check);
    u32v fresh = NATFAST_W(residue)(old + change + NATFAST_W(halves)(w[5]) + (2 * 0xFFFF - NATFAST_W(halves)(header[3])));
    /* of the two zeros UDP takes one, all else the other; and its 0 stands for none */
    fresh = NATFAST_W(select)(~tcp & (fresh == 0), 0xFFFF - (u32v){0}, fresh);
    NATFAST_W(store)(check, NATFAST_W(select)(((kind & o->nat_mask) != 0) & (tcp | (old != 0)), fresh, old));
    header[0] = ((w[2] & 0xFFFF) - 1) | NATFAST_W(residue)((w[2] >> 16) + 1 + change) << 16;
    uint8_t others[16], *row[NATFAST_MANY];
    memcpy(row, ip, sizeof row);
    for (uint32_t left = done ^ 0xFF; left; left &= left - 1)
        row[__builtin_ctz(left)] = others - 8;
    NATFAST_W(store_columns)(row, 8, header);
    uint32_t segments = NATFAST_W(bits)(tcp);
    for (uint32_t left = done; left; left &= left - 1) {
        k = (uint32_t)__builtin_ctz(left);
        uint32_t dir = g->ref[k] & 1;
        ((uint32_t *)entry[k])[10 + dir] += 1;
        ((uint64_t *)entry[k])[6 + dir] += g->length[k];
        natfast_store16(ip[k] + (segments >> k & 1 ? 36 : 26), (uint16_t)check[k]);
    }
    return done;
}

/* See natfast_compose_many. */
__attribute__((target(NATFAST_TARGET)))
static uint32_t NATFAST_W(compose)(const natfast_columns *c, size_t i, uint8_t *row, uint32_t *length)
{
    const u32v zero = {0};
    u32v protocol = NATFAST_W(load8)(c->proto + i);
    i32v tcp = protocol == NATFAST_IPPROTO_TCP;
    if (NATFAST_W(bits)(tcp | (protocol == NATFAST_IPPROTO_UDP)) != 0xFF)
        return 0;
    u32v least = NATFAST_W(select)(tcp, 40 - zero, 28 - zero), total = c->length ? NATFAST_W(load16)(c->length + i) : zero;
    total = NATFAST_W(select)(total < least, least, total);
    u32v sport = c->sport ? NATFAST_W(load16)(c->sport + i) : zero, dport = c->dport ? NATFAST_W(load16)(c->dport + i) : zero;
    u32v seq = c->seq ? NATFAST_W(load)(c->seq + i) : zero, ack = c->ack ? NATFAST_W(load)(c->ack + i) : zero;
    u32v flags = c->flags ? NATFAST_W(load8)(c->flags + i) : NATFAST_TCP_ACK - zero;
    u32v window = c->window ? NATFAST_W(load16)(c->window + i) : 0xFFFF - zero;
    u32v w[12] = {
        0x45 | NATFAST_W(be16)(total) << 16, zero, 64 | protocol << 8, NATFAST_W(be32)(NATFAST_W(load)(c->src + i)),
        NATFAST_W(be32)(NATFAST_W(load)(c->dst + i)), NATFAST_W(be32)(sport << 16 | dport),
        NATFAST_W(select)(tcp, NATFAST_W(be32)(seq), NATFAST_W(be16)(total - 20)), NATFAST_W(be32)(ack) & (u32v)tcp,
        (0x50 | flags << 8 | NATFAST_W(be16)(window) << 16) & (u32v)tcp, zero, zero, zero,
    };
    uint8_t *ip[NATFAST_MANY];
    for (int k = 0; k < NATFAST_MANY; k++) {
        ip[k] = row + 64 * k + 14;
        natfast_store16(ip[k] - 2, 0x0008);
        natfast_store16(ip[k] + NATFAST_BYTES, 0);
    }
    NATFAST_W(store_columns)(ip, 0, w);
    NATFAST_W(store_columns)(ip, 16, w + 4);
    NATFAST_W(store_columns)(ip, 32, w + 8);
    NATFAST_W(store)(length, total + 14);
    return 1;
}

/* See natfast_decompose_many. */
__attribute__((target(NATFAST_TARGET)))
static uint32_t NATFAST_W(decompose)(uint8_t *row, const uint8_t *proto, uint32_t *src, uint32_t *dst, uint16_t *sport, uint16_t *dport)
{
    u32v protocol = NATFAST_W(load8)(proto), w[4];
    if (NATFAST_W(bits)((protocol == NATFAST_IPPROTO_TCP) | (protocol == NATFAST_IPPROTO_UDP)) != 0xFF)
        return 0;
    uint8_t *ip[NATFAST_MANY];
    for (int k = 0; k < NATFAST_MANY; k++)
        ip[k] = row + 64 * k + 14;
    NATFAST_W(load_columns)(ip, 12, w);
    NATFAST_W(store)(src, NATFAST_W(be32)(w[0]));
    NATFAST_W(store)(dst, NATFAST_W(be32)(w[1]));
    u32v ports = NATFAST_W(be32)(w[2]);
    __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32((__m256i)(ports >> 16), (__m256i)(ports & 0xFFFF)), 0xD8);
    _mm256_storeu2_m128i((__m128i *)dport, (__m128i *)sport, both);
    return 1;
}
#undef u32v
#undef i32v
