"""The transmission control block: what a TCP connection knows of itself (RFC 9293 3.3.1)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from natfast.headers cimport TCP_ACK, TCP_CWR, TCP_ECE, TCP_SYN
from simcore.engine.flag cimport Flag
from simcore.engine.timer cimport Timer
from simcore.net.endpoints cimport Endpoint
from simcore.net.namespace cimport Namespace
from simcore.transport.congestion cimport CongestionControl, Window
from simcore.transport.flight cimport Flight
from simcore.transport.options cimport SACKS, TIMESTAMPS
from simcore.transport.rcvbuf cimport ReceiveBuffer
from simcore.transport.reassembly cimport Range, Reassembly

cdef enum:
    CLOSED = 0
    SYN_SENT = 2
    SYN_RCVD = 3
    ESTABLISHED = 4
    FIN_WAIT_1 = 5
    FIN_WAIT_2 = 6
    CLOSE_WAIT = 7
    CLOSING = 8
    LAST_ACK = 9
    TIME_WAIT = 10

cdef enum:                          # where the sender stands with losses, under Linux's names
    OPEN = 0
    DISORDER = 1                    # something is SACKed, nothing lost yet
    CWR = 2                         # the window shrinks because of ECN or a lost tail
    RECOVERY = 3
    LOSS = 4                        # after a timeout

cdef enum:                          # what keeps a sender from sending more
    HELD_NOT = 0                    # nothing more is there to be sent, or it is a small segment's turn later (Nagle)
    HELD_CWND = 1                   # or its pace
    HELD_RWND = 2
    HELD_SNDBUF = 3
    HELD_IDLE = 4                   # all is acknowledged

cdef enum:                          # timers
    RTO = 0                         # retransmission, zero-window probe, TIME_WAIT
    DELACK = 1
    PROBE = 2                       # tail loss probe, or RACK's reordering window
    PACE = 3
    KEEP = 4                        # keepalive; end of FIN_WAIT_2
    TIMERS = 5

cdef enum:
    INITIAL_WINDOW = 10             # segments (RFC 6928)
    SMALLEST = 8                    # bytes of payload that options leave of any segment

cdef extern from *:
    """
    #define TCP_RTO_MIN 0.2         /* s; Linux: 200 ms, not RFC 6298's 1 s */
    #define TCP_RTO_MAX 120.0
    #define TCP_ATO 0.04            /* delayed ACK */
    #define TCP_INFINITE 1e18
    #define TCP_INVALID_RATELIMIT 0.5
    """
    const double RTO_MIN "TCP_RTO_MIN"
    const double RTO_MAX "TCP_RTO_MAX"
    const double ATO "TCP_ATO"
    const double INFINITE "TCP_INFINITE"
    const double INVALID_RATELIMIT "TCP_INVALID_RATELIMIT"

cdef class Waiters:
    """The events that SimPy processes wait for at a socket; compiled applications have none."""
    cdef object connecting
    cdef object closing
    cdef object getter
    cdef uint32_t getter_max
    cdef bint getter_count
    cdef object senders                 # deque of (event, bytes that it was called for)

cdef class Tcb(Endpoint):
    # what every segment needs comes first, then what a receiver does, then a sender: with thousands of connections each is cold
    cdef Namespace ns
    cdef readonly uint64_t segments_in
    cdef double heard_at
    cdef uint8_t state_, keep_sent, quick, snd_scale, rcv_scale
    cdef Flag timestamps, scaling, sack, ecn, fin_queued, fin_sent
    cdef Flag discard, interactive, fin_received, ece_owed, cwr_owed
    cdef public int mss
    cdef uint32_t snd_una, snd_nxt, snd_wnd, snd_wl1, max_wnd
    cdef uint32_t rcv_nxt, rcv_edge
    cdef uint32_t ts_recent
    cdef uint32_t unacked_bytes
    cdef uint64_t rx_bytes              # received and not yet read, out of order apart
    cdef ReceiveBuffer rcv
    cdef Reassembly ooo
    cdef object tx                      # send queue: only real bytes are kept, as (position of the stream, bytes)
    cdef uint64_t tx_base
    cdef uint64_t tx_end
    cdef Timer timer[TIMERS]
    # the receiver's side
    cdef readonly uint64_t bytes_in
    cdef double data_at
    cdef object app                     # an App, told instead of events; None: SimPy processes use the socket
    cdef Waiters waiters                # None while no process waits
    # the sender's
    cdef Flag restart, paced, nodelay, undo_marker_set, tlp_out, tlp_again, probe_is_tlp
    cdef Flag holding                   # nothing is sent again for now
    cdef uint8_t ca, held_by            # the last: what keeps it from sending more
    cdef uint16_t backoff
    cdef int dupacks
    cdef uint32_t recover
    cdef uint32_t retrans_ts
    cdef uint32_t small_end             # of the last segment that was not full
    cdef uint32_t tx_next               # index in `tx` of what new segments take their bytes from
    cdef readonly uint64_t bytes_out
    cdef double sent_at
    cdef double held_at                 # since when
    cdef double held[4]                 # s, by what held it
    cdef double pace_at
    cdef double burst                   # bytes that may still leave before the pace counts
    cdef readonly double rttvar
    cdef readonly double rto
    cdef CongestionControl cc
    cdef Flight flight
    cdef Window w
    cdef double limited_at              # when cwnd was last what held the sender back
    cdef uint32_t usage_end             # what is known of how cwnd is used is of the time until this is acknowledged:
    cdef uint32_t usage, usage_most     # bytes that were out at most, then and since `limited_at`
    cdef readonly uint32_t sndbuf
    cdef readonly list history
    # the rest
    cdef double invalid_at
    cdef double prior_cwnd, prr_delivered, prr_out
    cdef double undo_cwnd, undo_ssthresh
    cdef uint32_t undo_marker
    cdef int undo_retrans
    cdef uint32_t tlp_end, dsack_round
    cdef readonly uint32_t retransmits
    cdef readonly uint32_t spurious     # reductions taken back
    cdef readonly uint32_t dsacks
    cdef uint32_t iss, irs
    cdef int mss_offered                # ours, once the other's is known
    cdef object parent                  # TcpListener, until it is accepted
    cdef object rx                      # what is to be read; zeros at the end are only counted
    cdef uint64_t rx_zeros
    cdef uint16_t failure, soft_error
    cdef uint8_t ecn_wanted             # tcp_ecn
    cdef uint8_t probing, retries, syn_retries
    cdef Flag driven                    # by an application
    cdef int events                     # timers' events in the calendar
    cdef public int tag                 # the application's own
    # keepalive
    cdef uint8_t keep_probes
    cdef double keep_idle, keep_interval
    cdef bint fin_acked(self) noexcept
    cdef bint too_often(self, uint32_t n) noexcept
    cdef void arm(self, int timer, double delay) noexcept
    cdef void wait(self, int timer) noexcept
    cdef void emit(self, uint32_t flags, uint32_t seq, uint64_t at, uint32_t n) noexcept
    cdef void die(self, int number) noexcept
    cdef void fin_is_acked(self) noexcept

    cdef inline uint32_t ts_now(self) noexcept:
        """The timestamp clock (RFC 7323): milliseconds, never 0."""
        return <uint32_t>(<uint64_t>(self.ns.calendar.now * 1000.0)) + 1

    cdef inline double ts_time(self, uint32_t ts) noexcept:
        """Seconds at the start of that tick; -1 if it was none of ours."""
        cdef uint32_t age = self.ts_now() - ts
        if ts == 0 or age > 0x7FFFFFFF:
            return -1
        return (<uint64_t>(self.ns.calendar.now * 1000.0) - age) * 1e-3

    cdef inline int payload(self) noexcept:
        return self.mss - (TIMESTAMPS if self.timestamps else 0)

    cdef inline int sack_blocks(self, Range* block) noexcept:
        """The SACK blocks that a segment has now, as many as there is room for."""
        if not self.sack or self.ooo is None or not (self.ooo.n or self.ooo.dsack.start != self.ooo.dsack.end):
            return 0
        return self.ooo.blocks(block, 3 if self.timestamps else 4)

    cdef inline int room(self) noexcept:
        """Bytes of payload that a segment takes now: of a full one's its SACK blocks leave less, as of Linux's tcp_current_mss."""
        cdef Range block[4]
        cdef int m = self.sack_blocks(block)
        return self.payload() if m == 0 else max(self.payload() - SACKS - 8 * m, SMALLEST)

    cdef inline uint32_t syn_flags(self) noexcept:
        if self.state_ == SYN_SENT:
            return TCP_SYN | (TCP_ECE | TCP_CWR if self.ecn else 0)
        return TCP_SYN | TCP_ACK | (TCP_ECE if self.ecn else 0)

    cdef inline uint64_t position(self, uint32_t seq) noexcept:
        """Stream position of a sequence number not before snd_una."""
        return self.tx_base + (seq - self.snd_una)

    cdef inline void is_held(self, uint8_t by) noexcept:
        """What keeps more from being sent from now on."""
        cdef double now = self.ns.calendar.now
        if by == self.held_by:
            return
        if self.held_by != HELD_IDLE:
            self.held[self.held_by] += now - self.held_at
        self.held_by = by
        self.held_at = now
