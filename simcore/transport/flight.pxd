"""What a TCP sender knows of the segments it has in flight: SACK scoreboard, RACK, delivery rate."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from simcore.engine.flag cimport Flag
from simcore.transport.reassembly cimport Range

cdef enum:                          # Sent.state
    SACKED = 1
    LOST = 2
    RETRANS = 4                     # a retransmission of it is in flight
    EVER_RETRANS = 8
    HAS_FIN = 16
    APP_LIMITED = 32
    AWAITED = 64                    # in the network for all that is known
    DUE = 128                       # to be sent again

ctypedef struct Sent:
    uint32_t start
    uint32_t end                    # FIN counted
    double at                       # last sent
    double first_at                 # sending time of the flight it belongs to (delivery rate)
    double delivered_at             # when `delivered` was counted
    uint32_t delivered              # bytes delivered before it was sent, the last 32 bits
    uint32_t before                 # numbers of its neighbours in its list
    uint32_t after
    uint8_t state

ctypedef struct Sample:             # what one ACK has told
    uint32_t delivered              # bytes newly delivered, cumulatively or selectively
    uint32_t lost                   # bytes newly marked lost
    double rtt                      # s, of the oldest segment newly acknowledged; -1 if none can say
    double last_rtt                 # s, of the youngest
    double interval                 # s that the rate was measured over, -1 if it could not be
    uint64_t prior_delivered        # bytes, at the start of the interval
    double prior_at
    bint app_limited
    bint advanced                   # snd_una moved
    bint ece
    uint32_t prior_inflight
    bint spurious                   # the ACK is for an original that had been sent again (RFC 4015)

cdef enum:
    BLOCKS = 4                      # that an ACK has at most
    NOBODY = 0xFFFFFFFF

ctypedef struct List:               # of segments, by their numbers
    uint32_t first
    uint32_t last

ctypedef struct Flight:
    Sent* seg                       # [head, tail) in sequence order
    uint32_t base                   # number of seg[0]: numbers stay when what is done makes room
    List awaited                    # in the order of sending, so that RACK looks at none but those that it may judge
    List due                        # in sequence order
    uint32_t due_last               # of them the one that came to it last, or a neighbour; NOBODY if there is none
    uint32_t head
    uint32_t tail
    uint32_t room
    uint32_t outstanding            # bytes sent and not cumulatively acknowledged
    uint32_t sacked
    uint32_t lost
    uint32_t retrans
    uint32_t n_sacked               # segments
    Range known[BLOCKS]             # SACK blocks that are marked; an ACK mostly adds to one that it has told before
    uint32_t n_known                # marked since there was none
    uint32_t high_sacked            # end of the highest delivered segment, valid once anything was
    # RFC 8985
    uint32_t rack_end
    double rack_at                  # sending time of the most recently sent segment that was delivered
    double rack_rtt
    double min_rtt
    uint16_t window_mult            # of the reordering window, grows with DSACKs
    Flag reordering
    Flag advanced                   # RACK's latest delivery is a later one than when losses were looked for last
    # delivery rate
    uint64_t delivered
    double delivered_at
    double first_at
    uint64_t app_limited            # until so much was delivered the rate says little

cdef void flight_init(Flight* f) noexcept nogil
cdef void flight_free(Flight* f) noexcept nogil
cdef void flight_send(Flight* f, uint32_t start, uint32_t end, uint8_t state, double now) noexcept nogil
cdef void flight_resend(Flight* f, uint32_t i, double now) noexcept nogil
cdef uint32_t flight_ack(Flight* f, uint32_t una, double now, Sample* s) noexcept nogil
cdef void flight_sack(Flight* f, uint32_t start, uint32_t end, double now, Sample* s) noexcept nogil
cdef double flight_detect(Flight* f, double now, double window, Sample* s) noexcept nogil
cdef void flight_lose(Flight* f, uint32_t i, Sample* s) noexcept nogil
cdef void flight_lose_all(Flight* f) noexcept nogil
cdef void flight_find_all(Flight* f) noexcept nogil
cdef int flight_next_lost(Flight* f) noexcept nogil
cdef void flight_split(Flight* f, uint32_t i, uint32_t size) noexcept nogil
cdef void flight_rate(Flight* f, double now, Sample* s) noexcept nogil

cdef inline uint32_t flight_pipe(const Flight* f) noexcept nogil:
    """Bytes believed to be in the network (RFC 6675 pipe)."""
    return f.outstanding - f.sacked - f.lost + f.retrans
