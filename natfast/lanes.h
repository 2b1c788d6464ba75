/* Vectors of eight 32-bit numbers, one lane a packet, and how rows of memory become columns of lanes and rows again.
 *
 * No include guard: included once for each vector unit, with NATFAST_UNIT (part of the names) and NATFAST_TARGET (what the compiler
 * may use) defined; NATFAST_W(x) is x's name there. The operators are GNU C's for vectors; what they lack is here. Little-endian,
 * as x86-64 is.
 */
#undef NATFAST_W
#define NATFAST_JOIN_(x, unit) natfast_##x##_##unit
#define NATFAST_JOIN(x, unit) NATFAST_JOIN_(x, unit)
#define NATFAST_W(x) NATFAST_JOIN(x, NATFAST_UNIT)
#undef NATFAST_INLINE
#define NATFAST_INLINE __attribute__((target(NATFAST_TARGET), always_inline)) static inline

/* Unsigned and signed lanes; a comparison gives signed ones, all bits set where it holds. */
typedef uint32_t NATFAST_W(u32) __attribute__((vector_size(32)));
typedef int32_t NATFAST_W(i32) __attribute__((vector_size(32)));
#define u32v NATFAST_W(u32)
#define i32v NATFAST_W(i32)

NATFAST_INLINE u32v NATFAST_W(load)(const uint32_t *p)
{
    u32v v;
    memcpy(&v, p, sizeof v);
    return v;
}

NATFAST_INLINE void NATFAST_W(store)(uint32_t *p, u32v v) { memcpy(p, &v, sizeof v); }

/* `a` in the lanes of the mask, `b` in the others */
NATFAST_INLINE u32v NATFAST_W(select)(i32v mask, u32v a, u32v b) { return b ^ ((a ^ b) & (u32v)mask); }

/* A 16-byte row of each lane's memory: the first four lanes' in one half of the vectors, the others' in the other. */
NATFAST_INLINE void NATFAST_W(load_rows)(uint8_t *const *p, size_t at, u32v row[4])
{
    for (int i = 0; i < 4; i++)
        row[i] = (u32v)_mm256_loadu2_m128i((const __m128i *)(p[i + 4] + at), (const __m128i *)(p[i] + at));
}

NATFAST_INLINE void NATFAST_W(store_rows)(uint8_t *const *p, size_t at, const u32v row[4])
{
    for (int i = 0; i < 4; i++)
        _mm256_storeu2_m128i((__m128i *)(p[i + 4] + at), (__m128i *)(p[i] + at), (__m256i)row[i]);
}

/* Four rows to four columns, or back, in each half. */
NATFAST_INLINE void NATFAST_W(transpose)(u32v v[4])
{
    __m256i a = _mm256_unpacklo_epi32((__m256i)v[0], (__m256i)v[1]), b = _mm256_unpacklo_epi32((__m256i)v[2], (__m256i)v[3]);
    __m256i c = _mm256_unpackhi_epi32((__m256i)v[0], (__m256i)v[1]), d = _mm256_unpackhi_epi32((__m256i)v[2], (__m256i)v[3]);
    v[0] = (u32v)_mm256_unpacklo_epi64(a, b);
    v[1] = (u32v)_mm256_unpackhi_epi64(a, b);
    v[2] = (u32v)_mm256_unpacklo_epi64(c, d);
    v[3] = (u32v)_mm256_unpackhi_epi64(c, d);
}

NATFAST_INLINE void NATFAST_W(load_columns)(uint8_t *const *p, size_t at, u32v column[4])
{
    NATFAST_W(load_rows)(p, at, column);
    NATFAST_W(transpose)(column);
}

NATFAST_INLINE void NATFAST_W(store_columns)(uint8_t *const *p, size_t at, const u32v column[4])
{
    u32v row[4] = {column[0], column[1], column[2], column[3]};
    NATFAST_W(transpose)(row);
    NATFAST_W(store_rows)(p, at, row);
}

/* Numbers of 64 bits, given by their halves. */
NATFAST_INLINE void NATFAST_W(store_pairs)(uint64_t *p, u32v low, u32v high)
{
    __m256i even = _mm256_unpacklo_epi32((__m256i)low, (__m256i)high), odd = _mm256_unpackhi_epi32((__m256i)low, (__m256i)high);
    __m256i first = _mm256_permute2x128_si256(even, odd, 0x20), second = _mm256_permute2x128_si256(even, odd, 0x31);
#ifdef NATFAST_WHOLE_STORES
    /* in one: the hash that reads them soon reads them in one, and would wait for two stores to reach the cache */
    _mm512_storeu_si512(p, _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1));
#else
    _mm256_storeu_si256((__m256i *)p, first);
    _mm256_storeu_si256((__m256i *)(p + 4), second);
#endif
}

/* Bit k: does the mask's lane k hold? */
NATFAST_INLINE uint32_t NATFAST_W(bits)(i32v mask)
{
    return (uint32_t)_mm256_movemask_ps((__m256)mask);
}

NATFAST_INLINE i32v NATFAST_W(mask_of)(uint32_t bits)
{
    const i32v each = {1, 2, 4, 8, 16, 32, 64, 128};
    return (each & (int32_t)bits) != 0;
}

/* Masks of the first `n` bytes of a word as it lies in memory: none for n <= 0, all for n >= 4. */
NATFAST_INLINE u32v NATFAST_W(first_bytes)(i32v n)
{
    __m256i rest = _mm256_max_epi32((__m256i)(32 - (n << 3)), _mm256_setzero_si256());
    return (u32v)_mm256_srlv_epi32(_mm256_set1_epi32(-1), rest);
}

/* From network order, or to it. */
NATFAST_INLINE u32v NATFAST_W(be32)(u32v v)
{
    const __m256i reversed = _mm256_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12,
                                              3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
    return (u32v)_mm256_shuffle_epi8((__m256i)v, reversed);
}

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
    return s & (u32v)(s != 0xFFFF);
}

/* Numbers of 16 and of 8 bits as lanes. */
NATFAST_INLINE u32v NATFAST_W(load16)(const uint16_t *p) { return (u32v)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)); }
NATFAST_INLINE u32v NATFAST_W(load8)(const uint8_t *p) { return (u32v)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }

/* The low 16 bits from network order, or to it. */
NATFAST_INLINE u32v NATFAST_W(be16)(u32v v) { return (v >> 8 & 0xFF) | (v & 0xFF) << 8; }
