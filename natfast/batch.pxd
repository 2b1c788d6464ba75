"""A batch's groups of frames, stage by stage: read, looked for, forwarded together where they are ordinary packets."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from natfast.columns cimport Columns, Translated
from natfast.fastpath cimport Ordinary, Packets
from natfast.filter cimport NF_ACCEPT, Path
from natfast.memo cimport ORIGINAL, REPLY, SOURCE, remember
from natfast.state cimport Conntrack
from natfast.table cimport Table, bucket_of, chain_first, prefetch, prefetch_to_write, source_of, __builtin_popcount

cdef enum:
    GROUP = 16                  # frames of a batch that go through each stage together
    AHEAD = 3                   # groups under way
    REST = 7                    # groups whose packets go one by one after one in which few were of different connections
    EXPECTED = 2                # hashes that a new connection will need besides its first packet's: its answer's, its source's

# What a batch finds out about a group of frames before their turn.
ctypedef struct Ahead:
    uint64_t m0[GROUP]             # the tuple's words; m1 is 0 where there is none to look for
    uint64_t m1[GROUP]
    uint64_t hash[GROUP]
    Packets packets                # ref: the entry it probably is, 0 if none
    uint8_t* bucket[GROUP]
    uint32_t n_buckets             # of the table, when they were asked for
    size_t first                   # of the batch's frames, or of its rows
    uint32_t* lengths              # of the group's frames, if it is not of rows
    uint32_t count
    uint32_t plain                 # bits: those that have a tuple to look for
    bint together                  # it is a whole group, read and looked for together
    uint32_t known                 # bits: those that probably are of an entry
    uint32_t unsure                # bits: those of which that takes more than a look into one bucket to tell
    uint32_t n_new
    uint8_t is_new[GROUP]          # those of the group whose tuple nothing is known of
    uint64_t new0[EXPECTED * GROUP]
    uint64_t new1[EXPECTED * GROUP]
    uint64_t new_hash[EXPECTED * GROUP]

# A batch under way.
ctypedef struct Batch:
    uint8_t* frames             # with columns: of the groups under way only
    size_t stride
    uint32_t* lengths
    const Columns* columns      # NULL: they are frames
    const Translated* translated
    const uint32_t* rows        # of the frames, those that are meant; NULL: all
    size_t count
    int iif
    int oif
    const double* times         # of each frame; NULL: all at the clock's
    const uint8_t* macs         # destination and source to write; NULL: none
    uint8_t* verdicts
    bint bare
    int unit                    # vector unit that groups are read and forwarded with
    bint short_way              # established packets may take it
    bint short_opening          # and connections' first packets theirs
    Ordinary usual
    uint32_t rest               # groups whose packets go one by one
    uint64_t passed             # packets that took the short way, and their bytes
    uint64_t octets
    Path* opening               # what FORWARD does with first packets
    uint64_t opened             # how many it let pass without a walk, and their bytes
    uint64_t opened_octets
    bint held                   # a fragment among them was


cdef inline void fetch_frames(const Batch* b, size_t group, size_t half) noexcept nogil:
    """Ask for half of the frames of the group that begins there, if it is a whole one: as many at once would wait for each other."""
    cdef size_t i
    if b.columns == NULL and group + GROUP <= b.count:
        for i in range(group + half * GROUP // 2, group + (half + 1) * GROUP // 2):
            if b.rows == NULL:
                prefetch(b.frames + i * b.stride)
            else:                       # whoever found their owner has them, too
                prefetch_to_write(b.frames + b.rows[i] * b.stride)


cdef inline void fetch_new(Table* t, const Ahead* a, uint32_t i) noexcept nogil:
    """Ask for what the i-th new connection will be entered in: for one with each packet, as many at once would queue."""
    prefetch(bucket_of(t, a.new_hash[EXPECTED * i]))
    prefetch(source_of(t, a.new_hash[EXPECTED * i + 1]))


cdef inline void fetch_neighbour(Table* t, const Ahead* a, uint32_t i) noexcept nogil:
    """Ask for the connection that a new one will be chained to by its source."""
    prefetch(&t.entries[chain_first(t, source_of(t, a.new_hash[EXPECTED * i + 1])[0])])


cdef inline void remember_new(Table* t, const Ahead* a, uint32_t i) noexcept nogil:
    cdef uint32_t k = a.is_new[i]
    remember(&t.memo, ORIGINAL, a.m0[k], a.m1[k], a.hash[k])
    k = EXPECTED * i
    remember(&t.memo, REPLY, a.new0[k], a.new1[k], a.new_hash[k])
    remember(&t.memo, SOURCE, a.new0[k + 1], a.new1[k + 1], a.new_hash[k + 1])


cdef inline void answer(Batch* b, const Ahead* group, uint32_t k, uint8_t verdict, uint32_t length) noexcept nogil:
    """Say what became of a frame. Of rows other threads have the neighbours, and nothing is written to say what is already said."""
    cdef size_t row
    if b.rows == NULL:
        b.verdicts[group.first + k] = verdict
        group.lengths[k] = length
    else:
        row = b.rows[group.first + k]
        if verdict != NF_ACCEPT:
            b.verdicts[row] = verdict
        if b.lengths[row] != length:
            b.lengths[row] = length


cdef inline uint32_t how_many(uint32_t done) noexcept nogil:
    """Bits that are set, most often all: without an instruction for it, counting them is a call."""
    return GROUP if done == (1 << GROUP) - 1 else <uint32_t>__builtin_popcount(done)


cdef inline size_t row_of(const Batch* b, size_t i) noexcept nogil:
    return b.rows[i] if b.rows != NULL else i


cdef void read_ahead(Conntrack* c, const Batch* b, size_t at, Ahead* ahead) noexcept nogil
cdef void place_ahead(Conntrack* c, const Batch* b, Ahead* ahead) noexcept nogil
cdef void match_ahead(Conntrack* c, const Batch* b, Ahead* ahead) noexcept nogil
cdef void probe_ahead(Conntrack* c, Ahead* ahead) noexcept nogil
cdef uint32_t forward_together(Conntrack* c, Batch* b, Ahead* group, const Ahead* next, const Ahead* fetch) noexcept nogil
cdef uint32_t forward_in_turn(Conntrack* c, const Batch* b, Ahead* group) noexcept nogil
