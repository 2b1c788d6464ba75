"""Fields that lie beside each other in one access, and one's complement sums of the machine's own words."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "wide.h" nogil:
    uint16_t load16 "natfast_load16"(const void* p)
    uint32_t load32 "natfast_load32"(const void* p)
    uint64_t load64 "natfast_load64"(const void* p)
    void store16 "natfast_store16"(void* p, uint16_t v)
    uint64_t swap64 "natfast_be64"(uint64_t v)
    uint64_t last_bytes "natfast_last_bytes"(const uint8_t* end, uint32_t n)
    uint64_t join32 "natfast_join32"(uint32_t first, uint32_t second)
    uint32_t join16 "natfast_join16"(uint16_t first, uint16_t second)
    uint16_t join8 "natfast_join8"(uint8_t first, uint8_t second)
    uint64_t pair32 "natfast_pair32"(const uint32_t* p)
    uint32_t pair16 "natfast_pair16"(const uint16_t* p)
    void store64 "natfast_store64"(void* p, uint64_t v)
    void put64 "natfast_put64"(uint8_t* p, uint64_t v)
    uint64_t rotate32 "natfast_rotate32"(uint64_t v)
    uint32_t rotate16 "natfast_rotate16"(uint32_t v)
    uint64_t add1 "natfast_add1"(uint64_t a, uint64_t b)
    uint64_t sub1 "natfast_sub1"(uint64_t a, uint64_t b)
    uint32_t fold1 "natfast_fold"(uint64_t s)
    bint sums_to_ffff "natfast_sums_to_ffff"(uint64_t s)
