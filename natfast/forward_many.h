/* Packets' tuples, the connections they are of, and their whole way; and packets that are columns: sixteen at once, as lanes of
 * vectors, of one with AVX-512, of two with AVX2. On other machines, and of other compilers, packets go one by one. All give the same results.
 *
 * An entry is read and written as eight rows of four words, in the order of `Entry` (table.pxd); `layouts_agree` (batch.pyx) sees
 * to it that both agree.
 */
#ifndef NATFAST_FORWARD_MANY_H
#define NATFAST_FORWARD_MANY_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "simd.h"
#include "wide.h"

enum {
    NATFAST_MANY = 16,                  /* packets given at once */
    NATFAST_BYTES = 48,                 /* of each packet, that must be readable */
    NATFAST_SLOTS = 10,                 /* of a bucket: as many tags of two bytes, then as many references of four */
    NATFAST_TAG_SHIFT = 14,
    NATFAST_IPPROTO_TCP = 6,
    NATFAST_IPPROTO_UDP = 17,
    NATFAST_TCP_PSH = 0x08,             /* the rest is tcp.pxd's */
    NATFAST_TCP_ACK = 0x10,
    NATFAST_SACK_PERM = 0x02,
    NATFAST_UNACKED = 0x10,
    NATFAST_MAXACK_SET = 0x20,
    NATFAST_EV_ACK = 3,
};

enum { NATFAST_NONE, NATFAST_AVX2, NATFAST_AVX512 };    /* natfast_unit: vector units that packets are forwarded with */

/* What holds for all packets of a batch. A kind is protocol | state << 8 | status << 16, as in an entry. */
typedef struct {
    uint8_t *nobody;                    /* entry 0, which is nobody's and may be written to */
    uint32_t headers_ok, transports_ok; /* 1: there are no such checksums to verify */
    uint32_t tcp_kind, tcp_kind_mask;   /* an entry's kind where the mask has bits, for the short way */
    uint32_t udp_kind, udp_kind_mask;
    uint32_t live_kind_mask;            /* ... and to be there at all */
    uint32_t assured, nat_mask;         /* of a kind */
    uint32_t tcp, tcp_retrans, tcp_unack, tcp_shut, udp, udp_stream;    /* timeouts, ms; tcp_shut: after a window of 0 */
    uint32_t tcp_max_retrans;
} natfast_ordinary;

/* What will be needed soon, of as many packets: entries of the next, buckets of later ones. */
typedef struct {
    uint8_t *const *entry, *const *bucket;
} natfast_soon;

/* Where connections are found: see `Table`. */
typedef struct {
    uint8_t *buckets, *entries;
    uint32_t n_buckets, level;
} natfast_index;

/* What stands for packets; a column that is not given is NULL. */
typedef struct {
    const uint32_t *src, *dst;
    const uint16_t *sport, *dport;      /* ICMP: the identifier, and type << 8 | code */
    const uint8_t *proto;
    const uint16_t *length;             /* of the IP packet */
    const uint8_t *flags;               /* the rest is TCP's */
    const uint32_t *seq, *ack;
    const uint16_t *window;
} natfast_columns;

typedef struct {
    uint8_t *ip[NATFAST_MANY];          /* where the packets begin */
    uint8_t *entry[NATFAST_MANY];       /* the entries that they probably are of; entry 0 of none */
    uint32_t none[NATFAST_MANY];        /* 0 */
    uint32_t ref[NATFAST_MANY];         /* the entry's number << 1 | direction */
    uint32_t now[NATFAST_MANY];         /* ms */
    uint32_t beyond[NATFAST_MANY];      /* one's complement sum of what follows the first 48 bytes */
    uint32_t length[NATFAST_MANY];      /* bytes of each, as it says */
    uint32_t words[NATFAST_BYTES / 4][NATFAST_MANY];    /* the first 48 bytes, what is past a packet's end as zeros */
    uint32_t whole, sound;              /* bits of those whose header's, whose transport's checksum holds, or is not looked at */
    uint32_t sooner;                    /* bits of those whose entries now expire earlier than before */
    uint32_t doubt;                     /* not 0: it is not known of all of them whose they are */
} __attribute__((aligned(64))) natfast_packets;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(NATFAST_PLAIN)
#include <immintrin.h>
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"        /* vectors are passed to inlined functions only */

#define NATFAST_UNIT avx2
#define NATFAST_TARGET "avx2"
#define NATFAST_LANES 8
#include "lanes.h"
#include "find_lanes.h"
#include "forward_lanes.h"
#include "columns_lanes.h"
#undef NATFAST_UNIT
#undef NATFAST_TARGET
#undef NATFAST_LANES
#define NATFAST_UNIT avx512
#define NATFAST_TARGET "avx512vl,avx512bw,avx512dq"
#define NATFAST_LANES 16
#include "lanes.h"
#include "find_lanes.h"
#include "forward_lanes.h"
#include "columns_lanes.h"
#undef NATFAST_UNIT
#undef NATFAST_TARGET
#undef NATFAST_LANES
#undef u32v
#undef lanes
#pragma GCC diagnostic pop

/* The best vector unit of this machine, a natfast_unit. */
static int natfast_unit_here(void)
{
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        return NATFAST_AVX512;
    return __builtin_cpu_supports("avx2") ? NATFAST_AVX2 : NATFAST_NONE;
}

/* The words of the packets' tuples; the second is 0 of one that is no plain TCP or UDP packet. Frames are `length` bytes long;
 * 48 bytes of each packet, and 2 before it, are readable. Returns the bits of the plain ones. `g`, if not NULL, is told the
 * plain ones' lengths and words. */
static inline uint32_t natfast_tuples_many(uint8_t *const *ip, const uint32_t *length, uint64_t *m0, uint64_t *m1, natfast_packets *g, int unit)
{
    if (unit == NATFAST_AVX512)
        return natfast_tuples_avx512(ip, length, m0, m1, g, 0);
    uint32_t low = natfast_tuples_avx2(ip, length, m0, m1, g, 0);
    return low | natfast_tuples_avx2(ip + 8, length + 8, m0 + 8, m1 + 8, g, 8);
}

/* Sums of what is beyond the packets' words, all of which must be in memory; but not of those whose bits are returned, of which that is
 * more than 8 bytes. */
static inline uint32_t natfast_tails_many(natfast_packets *g, int unit)
{
    return unit == NATFAST_AVX512 ? natfast_tails_avx512(g, 0) : natfast_tails_avx2(g, 0) | natfast_tails_avx2(g, 8);
}

/* Of which packets the checksums hold. */
static inline void natfast_verify_many(const natfast_ordinary *o, natfast_packets *g, int unit)
{
    g->whole = 0 - o->headers_ok;
    g->sound = 0 - o->transports_ok;
    if (o->headers_ok & o->transports_ok)
        return;
    if (unit == NATFAST_AVX512) {
        natfast_verify_avx512(o, g, 0);
        return;
    }
    natfast_verify_avx2(o, g, 0);
    natfast_verify_avx2(o, g, 8);
}

/* The buckets that these hashes belong into. */
static inline void natfast_places_many(const natfast_index *x, const uint64_t *hash, uint8_t **bucket, int unit)
{
    if (unit == NATFAST_AVX512) {
        natfast_places_avx512(x, hash, bucket);
        return;
    }
    natfast_places_avx2(x, hash, bucket);
    natfast_places_avx2(x, hash + 8, bucket + 8);
}

/* The first references whose tags agree in those buckets, and the entries they name: of the `wanted` (bits); 0 of none. Returns the
 * bits of those for which there is one; `several`: of those that are not the only ones. */
static inline uint32_t natfast_matches_many(const natfast_index *x, const uint64_t *hash, uint8_t *const *bucket, uint32_t wanted,
                                            uint32_t *ref, uint8_t **entry, uint32_t *several, int unit)
{
    if (unit == NATFAST_AVX512)
        return natfast_matches_avx512(x, hash, bucket, wanted, ref, entry, several);
    uint32_t more, known = natfast_matches_avx2(x, hash, bucket, wanted & 0xFF, ref, entry, several);
    known |= natfast_matches_avx2(x, hash + 8, bucket + 8, wanted >> 8, ref + 8, entry + 8, &more) << 8;
    *several |= more << 8;
    return known;
}

/* Forward those of the packets in `known` (bits) that are ordinary ones, in order where one may depend on the other.
 *
 * What will be needed `soon` is asked for here and there, as many requests at once would wait for each other.
 * Returns the bits of those that are done; the others are as they were.
 */
static inline uint32_t natfast_established_many(const natfast_ordinary *o, natfast_packets *g, uint32_t known, const natfast_soon *soon, int unit)
{
    g->sooner = g->doubt = 0;
    if (unit == NATFAST_AVX512)
        return natfast_established_avx512(o, g, known, soon, 0);
    uint32_t done = natfast_established_avx2(o, g, known, soon, 0);
    return done | natfast_established_avx2(o, g, g->doubt ? 0 : known, soon, 8);
}

/* Make bare frames of as many rows from `i` on, 64 bytes each, and their lengths; 0 if they are not all TCP or UDP. */
static inline uint32_t natfast_compose_many(const natfast_columns *c, size_t i, uint8_t *row, uint32_t *length, int unit)
{
    if (unit == NATFAST_AVX512)
        return natfast_compose_avx512(c, i, row, length);
    return unit == NATFAST_AVX2 && natfast_compose_avx2(c, i, row, length) && natfast_compose_avx2(c, i + 8, row + 8 * 64, length + 8);
}

/* Read such frames' addresses and ports; 0 if they are not all TCP or UDP. */
static inline uint32_t natfast_decompose_many(uint8_t *row, const uint8_t *proto, uint32_t *src, uint32_t *dst, uint16_t *sport,
                                              uint16_t *dport, int unit)
{
    if (unit == NATFAST_AVX512)
        return natfast_decompose_avx512(row, proto, src, dst, sport, dport);
    return unit == NATFAST_AVX2 && natfast_decompose_avx2(row, proto, src, dst, sport, dport)
        && natfast_decompose_avx2(row + 8 * 64, proto + 8, src + 8, dst + 8, sport + 8, dport + 8);
}
#else
static int natfast_unit_here(void) { return NATFAST_NONE; }
static inline uint32_t natfast_tuples_many(uint8_t *const *ip, const uint32_t *length, uint64_t *m0, uint64_t *m1, natfast_packets *g, int unit)
{
    (void)ip, (void)length, (void)m0, (void)m1, (void)g, (void)unit;
    return 0;
}
static inline uint32_t natfast_tails_many(natfast_packets *g, int unit)
{
    (void)g, (void)unit;
    return 0;
}
static inline void natfast_verify_many(const natfast_ordinary *o, natfast_packets *g, int unit) { (void)o, (void)g, (void)unit; }
static inline void natfast_places_many(const natfast_index *x, const uint64_t *hash, uint8_t **bucket, int unit)
{
    (void)x, (void)hash, (void)bucket, (void)unit;
}
static inline uint32_t natfast_matches_many(const natfast_index *x, const uint64_t *hash, uint8_t *const *bucket, uint32_t wanted,
                                            uint32_t *ref, uint8_t **entry, uint32_t *several, int unit)
{
    (void)x, (void)hash, (void)bucket, (void)wanted, (void)ref, (void)entry, (void)several, (void)unit;
    return 0;
}
static inline uint32_t natfast_established_many(const natfast_ordinary *o, natfast_packets *g, uint32_t known, const natfast_soon *soon, int unit)
{
    (void)o, (void)g, (void)known, (void)soon, (void)unit;
    return 0;
}
static inline uint32_t natfast_compose_many(const natfast_columns *c, size_t i, uint8_t *row, uint32_t *length, int unit)
{
    (void)c, (void)i, (void)row, (void)length, (void)unit;
    return 0;
}
static inline uint32_t natfast_decompose_many(uint8_t *row, const uint8_t *proto, uint32_t *src, uint32_t *dst, uint16_t *sport,
                                              uint16_t *dport, int unit)
{
    (void)row, (void)proto, (void)src, (void)dst, (void)sport, (void)dport, (void)unit;
    return 0;
}
#endif
#endif
