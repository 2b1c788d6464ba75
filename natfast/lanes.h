/* Vectors of 32-bit numbers, one lane a packet, and how rows of memory become columns of lanes and rows again: eight lanes with
 * AVX2, sixteen with AVX-512.
 *
 * No include guard: included once for each vector unit, with NATFAST_UNIT (part of the names), NATFAST_TARGET (what the compiler
 * may use) and NATFAST_LANES defined; NATFAST_W(x) is x's name there. Arithmetic is GNU C's operators for vectors; what they lack
 * is here. A `lanes` says of each lane yes or no: AVX2 has vectors for that, AVX-512 bits; `&`, `|`, `~` are for both.
 * Little-endian, as x86-64 is.
 */
#undef u32v
#undef lanes
#undef NATFAST_W
#define NATFAST_JOIN_(x, unit) natfast_##x##_##unit
#define NATFAST_JOIN(x, unit) NATFAST_JOIN_(x, unit)
#define NATFAST_W(x) NATFAST_JOIN(x, NATFAST_UNIT)
#undef NATFAST_INLINE
#define NATFAST_INLINE __attribute__((target(NATFAST_TARGET), always_inline)) static inline

typedef uint32_t NATFAST_W(u32) __attribute__((vector_size(4 * NATFAST_LANES)));
#define u32v NATFAST_W(u32)

NATFAST_INLINE u32v NATFAST_W(load)(const uint32_t *p)
{
    u32v v;
    memcpy(&v, p, sizeof v);
    return v;
}

NATFAST_INLINE void NATFAST_W(store)(uint32_t *p, u32v v) { memcpy(p, &v, sizeof v); }

/* A number in all lanes. */
NATFAST_INLINE u32v NATFAST_W(each)(uint32_t number) { return number - (u32v){0}; }

#if NATFAST_LANES == 16
typedef __mmask16 NATFAST_W(lanes);
#define lanes NATFAST_W(lanes)

NATFAST_INLINE lanes NATFAST_W(equal)(u32v a, u32v b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
NATFAST_INLINE lanes NATFAST_W(less)(u32v a, u32v b) { return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b); }
NATFAST_INLINE lanes NATFAST_W(negative)(u32v a) { return _mm512_movepi32_mask((__m512i)a); }
NATFAST_INLINE lanes NATFAST_W(at_least)(u32v a, u32v b) { return _mm512_cmpge_epu32_mask((__m512i)a, (__m512i)b); }
NATFAST_INLINE u32v NATFAST_W(select)(lanes mask, u32v a, u32v b) { return (u32v)_mm512_mask_mov_epi32((__m512i)b, mask, (__m512i)a); }
NATFAST_INLINE u32v NATFAST_W(keep)(lanes mask, u32v a) { return (u32v)_mm512_maskz_mov_epi32(mask, (__m512i)a); }
NATFAST_INLINE u32v NATFAST_W(min)(u32v a, u32v b) { return (u32v)_mm512_min_epu32((__m512i)a, (__m512i)b); }
NATFAST_INLINE u32v NATFAST_W(max)(u32v a, u32v b) { return (u32v)_mm512_max_epu32((__m512i)a, (__m512i)b); }
NATFAST_INLINE u32v NATFAST_W(max_signed)(u32v a, u32v b) { return (u32v)_mm512_max_epi32((__m512i)a, (__m512i)b); }
NATFAST_INLINE u32v NATFAST_W(shuffle_bytes)(u32v v, __m128i order)
{
    return (u32v)_mm512_shuffle_epi8((__m512i)v, _mm512_broadcast_i32x4(order));
}
NATFAST_INLINE uint32_t NATFAST_W(bits)(lanes mask) { return mask; }
NATFAST_INLINE lanes NATFAST_W(lanes_of)(uint32_t bits) { return (lanes)bits; }
NATFAST_INLINE u32v NATFAST_W(load16)(const uint16_t *p) { return (u32v)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)); }
NATFAST_INLINE u32v NATFAST_W(load8)(const uint8_t *p) { return (u32v)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)); }
NATFAST_INLINE void NATFAST_W(store16)(uint16_t *p, u32v v) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16((__m512i)v)); }
NATFAST_INLINE u32v NATFAST_W(unpack_low)(u32v a, u32v b) { return (u32v)_mm512_unpacklo_epi32((__m512i)a, (__m512i)b); }
NATFAST_INLINE u32v NATFAST_W(unpack_high)(u32v a, u32v b) { return (u32v)_mm512_unpackhi_epi32((__m512i)a, (__m512i)b); }
NATFAST_INLINE u32v NATFAST_W(unpack_low_pairs)(u32v a, u32v b) { return (u32v)_mm512_unpacklo_epi64((__m512i)a, (__m512i)b); }
NATFAST_INLINE u32v NATFAST_W(unpack_high_pairs)(u32v a, u32v b) { return (u32v)_mm512_unpackhi_epi64((__m512i)a, (__m512i)b); }

NATFAST_INLINE u32v NATFAST_W(load_row)(uint8_t *const *p, size_t at)
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(p[0] + at)));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p[4] + at)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p[8] + at)), 2);
    return (u32v)_mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p[12] + at)), 3);
}

NATFAST_INLINE void NATFAST_W(store_row)(uint8_t *const *p, size_t at, u32v v)
{
    _mm_storeu_si128((__m128i *)(p[0] + at), _mm512_castsi512_si128((__m512i)v));
    _mm_storeu_si128((__m128i *)(p[4] + at), _mm512_extracti32x4_epi32((__m512i)v, 1));
    _mm_storeu_si128((__m128i *)(p[8] + at), _mm512_extracti32x4_epi32((__m512i)v, 2));
    _mm_storeu_si128((__m128i *)(p[12] + at), _mm512_extracti32x4_epi32((__m512i)v, 3));
}

/* Numbers of 64 bits, given by their halves. */
NATFAST_INLINE void NATFAST_W(store_pairs)(uint64_t *p, u32v low, u32v high)
{
    __m512i even = (__m512i)NATFAST_W(unpack_low)(low, high), odd = (__m512i)NATFAST_W(unpack_high)(low, high);
    _mm512_storeu_si512(p, _mm512_permutex2var_epi64(even, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), odd));
    _mm512_storeu_si512(p + 8, _mm512_permutex2var_epi64(even, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), odd));
}

/* The low halves of numbers of 64 bits. */
NATFAST_INLINE u32v NATFAST_W(load_low)(const uint64_t *p)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return (u32v)_mm512_permutex2var_epi32(_mm512_loadu_si512(p), even, _mm512_loadu_si512(p + 8));
}

/* Addresses of what lies at `base`, 1 << `shift` bytes each. */
NATFAST_INLINE void NATFAST_W(store_pointers)(uint8_t **p, uint8_t *base, u32v number, int shift)
{
    __m512i first = _mm512_set1_epi64((long long)(uintptr_t)base);
    for (int i = 0; i < 2; i++) {
        __m512i wide = _mm512_cvtepu32_epi64(i ? _mm512_extracti64x4_epi64((__m512i)number, 1) : _mm512_castsi512_si256((__m512i)number));
        _mm512_storeu_si512(p + 8 * i, _mm512_add_epi64(first, _mm512_slli_epi64(wide, (unsigned)shift)));
    }
}

/* The four 16-bit parts of numbers of 64 bits, shifted right by `n` bits, added. */
NATFAST_INLINE u32v NATFAST_W(sum_pairs)(const uint64_t *p, u32v n)
{
    const __m512i parts = _mm512_set1_epi32(0xFFFF);
    __m256i sum[2];
    for (int i = 0; i < 2; i++) {
        __m512i by = _mm512_cvtepu32_epi64(i ? _mm512_extracti64x4_epi64((__m512i)n, 1) : _mm512_castsi512_si256((__m512i)n));
        __m512i v = _mm512_srlv_epi64(_mm512_loadu_si512(p + 8 * i), by);
        v = _mm512_add_epi64(_mm512_and_si512(v, parts), _mm512_and_si512(_mm512_srli_epi64(v, 16), parts));
        sum[i] = _mm512_cvtepi64_epi32(_mm512_add_epi64(v, _mm512_srli_epi64(v, 32)));
    }
    return (u32v)_mm512_inserti64x4(_mm512_castsi256_si512(sum[0]), sum[1], 1);
}

/* Which of a bucket's tags equal one, and the first of them (the slot past the last if none does). */
NATFAST_INLINE uint32_t NATFAST_W(slots)(const uint8_t *tags, uint16_t tag)
{
    return _mm256_cmpeq_epi16_mask(_mm256_loadu_si256((const __m256i *)tags), _mm256_set1_epi16((short)tag)) & ((1U << NATFAST_SLOTS) - 1);
}
NATFAST_INLINE uint32_t NATFAST_W(first_slot)(uint32_t slots) { return (uint32_t)__builtin_ctz(slots | 1U << NATFAST_SLOTS); }

/* Each of `v`'s lanes shifted right by its own number of bits; all of them by 32 and more. */
NATFAST_INLINE u32v NATFAST_W(shift_right)(u32v v, u32v n) { return (u32v)_mm512_srlv_epi32((__m512i)v, (__m512i)n); }
#else
typedef int32_t NATFAST_W(lanes) __attribute__((vector_size(4 * NATFAST_LANES)));
#define lanes NATFAST_W(lanes)

NATFAST_INLINE lanes NATFAST_W(equal)(u32v a, u32v b) { return a == b; }
NATFAST_INLINE lanes NATFAST_W(less)(u32v a, u32v b) { return (lanes)a < (lanes)b; }
NATFAST_INLINE lanes NATFAST_W(negative)(u32v a) { return (lanes)a < 0; }
NATFAST_INLINE lanes NATFAST_W(at_least)(u32v a, u32v b) { return (u32v)_mm256_max_epu32((__m256i)a, (__m256i)b) == a; }
NATFAST_INLINE u32v NATFAST_W(select)(lanes mask, u32v a, u32v b) { return (u32v)_mm256_blendv_epi8((__m256i)b, (__m256i)a, (__m256i)mask); }
NATFAST_INLINE u32v NATFAST_W(keep)(lanes mask, u32v a) { return a & (u32v)mask; }
NATFAST_INLINE u32v NATFAST_W(min)(u32v a, u32v b) { return (u32v)_mm256_min_epu32((__m256i)a, (__m256i)b); }
NATFAST_INLINE u32v NATFAST_W(max)(u32v a, u32v b) { return (u32v)_mm256_max_epu32((__m256i)a, (__m256i)b); }
NATFAST_INLINE u32v NATFAST_W(max_signed)(u32v a, u32v b) { return (u32v)_mm256_max_epi32((__m256i)a, (__m256i)b); }
NATFAST_INLINE u32v NATFAST_W(shuffle_bytes)(u32v v, __m128i order)
{
    return (u32v)_mm256_shuffle_epi8((__m256i)v, _mm256_broadcastsi128_si256(order));
}
NATFAST_INLINE uint32_t NATFAST_W(bits)(lanes mask) { return (uint32_t)_mm256_movemask_ps((__m256)mask); }
NATFAST_INLINE lanes NATFAST_W(lanes_of)(uint32_t bits)
{
    const lanes each = {1, 2, 4, 8, 16, 32, 64, 128};
    return (each & (int32_t)bits) != 0;
}
NATFAST_INLINE u32v NATFAST_W(load16)(const uint16_t *p) { return (u32v)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)); }
NATFAST_INLINE u32v NATFAST_W(load8)(const uint8_t *p) { return (u32v)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
NATFAST_INLINE void NATFAST_W(store16)(uint16_t *p, u32v v)
{
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1)));
}
NATFAST_INLINE u32v NATFAST_W(unpack_low)(u32v a, u32v b) { return (u32v)_mm256_unpacklo_epi32((__m256i)a, (__m256i)b); }
NATFAST_INLINE u32v NATFAST_W(unpack_high)(u32v a, u32v b) { return (u32v)_mm256_unpackhi_epi32((__m256i)a, (__m256i)b); }
NATFAST_INLINE u32v NATFAST_W(unpack_low_pairs)(u32v a, u32v b) { return (u32v)_mm256_unpacklo_epi64((__m256i)a, (__m256i)b); }
NATFAST_INLINE u32v NATFAST_W(unpack_high_pairs)(u32v a, u32v b) { return (u32v)_mm256_unpackhi_epi64((__m256i)a, (__m256i)b); }

NATFAST_INLINE u32v NATFAST_W(load_row)(uint8_t *const *p, size_t at)
{
    return (u32v)_mm256_loadu2_m128i((const __m128i *)(p[4] + at), (const __m128i *)(p[0] + at));
}

NATFAST_INLINE void NATFAST_W(store_row)(uint8_t *const *p, size_t at, u32v v)
{
    _mm256_storeu2_m128i((__m128i *)(p[4] + at), (__m128i *)(p[0] + at), (__m256i)v);
}

/* Numbers of 64 bits, given by their halves. */
NATFAST_INLINE void NATFAST_W(store_pairs)(uint64_t *p, u32v low, u32v high)
{
    __m256i even = (__m256i)NATFAST_W(unpack_low)(low, high), odd = (__m256i)NATFAST_W(unpack_high)(low, high);
    _mm256_storeu_si256((__m256i *)p, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((__m256i *)(p + 4), _mm256_permute2x128_si256(even, odd, 0x31));
}

/* The low halves of numbers of 64 bits. */
NATFAST_INLINE u32v NATFAST_W(low_halves)(__m256i a, __m256i b)
{
    return (u32v)_mm256_permute4x64_epi64((__m256i)_mm256_shuffle_ps((__m256)a, (__m256)b, 0x88), 0xD8);
}
NATFAST_INLINE u32v NATFAST_W(load_low)(const uint64_t *p)
{
    return NATFAST_W(low_halves)(_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 4)));
}

/* Addresses of what lies at `base`, 1 << `shift` bytes each. */
NATFAST_INLINE void NATFAST_W(store_pointers)(uint8_t **p, uint8_t *base, u32v number, int shift)
{
    __m256i first = _mm256_set1_epi64x((long long)(uintptr_t)base);
    for (int i = 0; i < 2; i++) {
        __m256i wide = _mm256_cvtepu32_epi64(i ? _mm256_extracti128_si256((__m256i)number, 1) : _mm256_castsi256_si128((__m256i)number));
        _mm256_storeu_si256((__m256i *)(p + 4 * i), _mm256_add_epi64(first, _mm256_slli_epi64(wide, shift)));
    }
}

/* The four 16-bit parts of numbers of 64 bits, shifted right by `n` bits, added. */
NATFAST_INLINE u32v NATFAST_W(sum_pairs)(const uint64_t *p, u32v n)
{
    const __m256i parts = _mm256_set1_epi32(0xFFFF);
    __m256i sum[2];
    for (int i = 0; i < 2; i++) {
        __m256i by = _mm256_cvtepu32_epi64(i ? _mm256_extracti128_si256((__m256i)n, 1) : _mm256_castsi256_si128((__m256i)n));
        __m256i v = _mm256_srlv_epi64(_mm256_loadu_si256((const __m256i *)(p + 4 * i)), by);
        v = _mm256_add_epi64(_mm256_and_si256(v, parts), _mm256_and_si256(_mm256_srli_epi64(v, 16), parts));
        sum[i] = _mm256_add_epi64(v, _mm256_srli_epi64(v, 32));
    }
    return NATFAST_W(low_halves)(sum[0], sum[1]);
}

/* Which of a bucket's tags equal one, a bit and a hole each, and the first of them (the slot past the last if none does). */
NATFAST_INLINE uint32_t NATFAST_W(slots)(const uint8_t *tags, uint16_t tag)
{
    __m256i same = _mm256_cmpeq_epi16(_mm256_loadu_si256((const __m256i *)tags), _mm256_set1_epi16((short)tag));
    return (uint32_t)_mm256_movemask_epi8(same) & 0x55555555 & ((1U << 2 * NATFAST_SLOTS) - 1);
}
NATFAST_INLINE uint32_t NATFAST_W(first_slot)(uint32_t slots) { return (uint32_t)__builtin_ctz(slots | 1U << 2 * NATFAST_SLOTS) / 2; }

/* Each of `v`'s lanes shifted right by its own number of bits; all of them by 32 and more. */
NATFAST_INLINE u32v NATFAST_W(shift_right)(u32v v, u32v n) { return (u32v)_mm256_srlv_epi32((__m256i)v, (__m256i)n); }
#endif

NATFAST_INLINE lanes NATFAST_W(is)(u32v a, uint32_t number) { return NATFAST_W(equal)(a, NATFAST_W(each)(number)); }

/* Yes or no for all. */
NATFAST_INLINE lanes NATFAST_W(all)(uint32_t yes) { return NATFAST_W(lanes_of)(0 - yes); }

/* Four rows to four columns, or back, in each 128 bits. */
NATFAST_INLINE void NATFAST_W(transpose)(u32v v[4])
{
    u32v a = NATFAST_W(unpack_low)(v[0], v[1]), b = NATFAST_W(unpack_low)(v[2], v[3]);
    u32v c = NATFAST_W(unpack_high)(v[0], v[1]), d = NATFAST_W(unpack_high)(v[2], v[3]);
    v[0] = NATFAST_W(unpack_low_pairs)(a, b);
    v[1] = NATFAST_W(unpack_high_pairs)(a, b);
    v[2] = NATFAST_W(unpack_low_pairs)(c, d);
    v[3] = NATFAST_W(unpack_high_pairs)(c, d);
}

/* The four words at `at` of each lane's memory. A row has every fourth lane's, so that transposed they are in order. */
NATFAST_INLINE void NATFAST_W(load_columns)(uint8_t *const *p, size_t at, u32v column[4])
{
    for (int i = 0; i < 4; i++)
        column[i] = NATFAST_W(load_row)(p + i, at);
    NATFAST_W(transpose)(column);
}

NATFAST_INLINE void NATFAST_W(store_columns)(uint8_t *const *p, size_t at, const u32v column[4])
{
    u32v row[4] = {column[0], column[1], column[2], column[3]};
    NATFAST_W(transpose)(row);
    for (int i = 0; i < 4; i++)
        NATFAST_W(store_row)(p + i, at, row[i]);
}

/* Masks of the first `n` bytes of a word as it lies in memory: none for n <= 0, all for n >= 4. */
NATFAST_INLINE u32v NATFAST_W(first_bytes)(u32v n)
{
    return NATFAST_W(shift_right)(NATFAST_W(each)(0xFFFFFFFF), NATFAST_W(max_signed)(32 - (n << 3), NATFAST_W(each)(0)));
}

/* From network order, or to it. */
NATFAST_INLINE u32v NATFAST_W(be32)(u32v v)
{
    return NATFAST_W(shuffle_bytes)(v, _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
}

/* The low 16 bits from network order, or to it. */
NATFAST_INLINE u32v NATFAST_W(be16)(u32v v) { return (v >> 8 & 0xFF) | (v & 0xFF) << 8; }

/* The two 16-bit halves added: one's complement sums of a few words stay below 2**32 and are folded at the end. */
NATFAST_INLINE u32v NATFAST_W(halves)(u32v v) { return (v & 0xFFFF) + (v >> 16); }

/* A one's complement sum folded to 16 bits; 0 only if it is 0. */
NATFAST_INLINE u32v NATFAST_W(fold)(u32v s)
{
    s = NATFAST_W(halves)(s);
    return NATFAST_W(halves)(s);
}

/* The same, of the two zeros the one whose bits are 0. */
NATFAST_INLINE u32v NATFAST_W(residue)(u32v s)
{
    s = NATFAST_W(fold)(s);
    return NATFAST_W(keep)(~NATFAST_W(is)(s, 0xFFFF), s);
}
