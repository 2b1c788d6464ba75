"""TCP connections and listeners as C sees them."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from simcore.engine.calendar cimport Handler
from simcore.engine.frame cimport Frame
from simcore.engine.timer cimport Timer
from simcore.net.endpoints cimport Endpoint
from simcore.net.namespace cimport Namespace
from simcore.transport.congestion cimport CongestionControl, Window
from simcore.transport.flight cimport Flight, Sample
from simcore.transport.options cimport Options
from simcore.transport.rcvbuf cimport ReceiveBuffer
from simcore.transport.reassembly cimport Range, Reassembly

cdef class App(Handler):
    """What a compiled application is told by its sockets; it may call their methods at once."""
    cdef void connected(self, TcpSocket s) noexcept
    cdef void data(self, TcpSocket s) noexcept              # bytes can be read
    cdef void ended(self, TcpSocket s) noexcept             # the other side has closed
    cdef void gone(self, TcpSocket s, int number) noexcept  # over: errno, 0 if in good order

cdef class TcpSocket(Endpoint):
    # what every segment needs comes first, then what a receiver does, then a sender: with thousands of connections each is cold
    cdef Namespace ns
    cdef readonly uint64_t segments_in
    cdef double heard_at
    cdef int state_
    cdef public int mss
    cdef uint32_t snd_una, snd_nxt, snd_wnd, snd_wl1, max_wnd
    cdef uint32_t rcv_nxt, rcv_edge
    cdef uint32_t ts_recent
    cdef int snd_scale, rcv_scale
    cdef bint timestamps, scaling, sack, ecn
    cdef bint fin_queued, fin_sent
    cdef int keep_sent, quick
    cdef uint32_t unacked_bytes
    cdef uint64_t rx_bytes              # received and not yet read, out of order apart
    cdef ReceiveBuffer rcv
    cdef Reassembly ooo
    cdef object tx                      # send queue: only real bytes are kept, as (position of the stream, bytes)
    cdef uint32_t tx_next               # index in it of what new segments take their bytes from
    cdef uint64_t tx_base
    cdef uint64_t tx_end
    cdef Timer timer[5]
    # the receiver's side
    cdef readonly uint64_t bytes_in
    cdef double data_at
    cdef App app                        # told instead of events; None: SimPy processes use the socket
    cdef object getter
    cdef bint discard, interactive, fin_received
    # the sender's
    cdef bint restart, paced
    cdef int ca, dupacks, backoff
    cdef uint32_t recover
    cdef uint32_t retrans_ts
    cdef bint undo_marker_set, tlp_out
    cdef uint32_t small_end             # of the last segment that was not full
    cdef readonly uint64_t bytes_out
    cdef double sent_at
    cdef readonly double rttvar
    cdef readonly double rto
    cdef object tx_waiters
    cdef CongestionControl cc
    cdef Flight flight
    cdef Window w
    cdef readonly list history
    # the rest
    cdef TcpListener parent
    cdef int mss_offered                # ours, once the other's is known
    cdef uint32_t iss, irs
    cdef int ecn_wanted                 # tcp_ecn
    cdef readonly uint32_t sndbuf
    cdef bint nodelay
    cdef int probing, retries, syn_retries
    cdef bint ece_owed, cwr_owed
    cdef object rx                      # what is to be read; zeros at the end are only counted
    cdef uint64_t rx_zeros
    cdef uint32_t getter_max
    cdef bint getter_count
    cdef object connecting
    cdef object closing
    cdef int failure, soft_error
    cdef double prior_cwnd, prr_delivered, prr_out
    cdef uint32_t undo_marker
    cdef int undo_retrans
    cdef double undo_cwnd, undo_ssthresh
    cdef bint tlp_again, probe_is_tlp
    cdef bint holding                   # nothing is sent again for now
    cdef uint32_t tlp_end, dsack_round
    cdef double pace_at, invalid_at
    cdef int held_by                    # what keeps it from sending more, ...
    cdef double held_at                 # ... since then
    cdef double held[4]                 # s, by what it was
    cdef double limited_at              # when cwnd was last what held the sender back
    cdef uint32_t usage_end             # what is known of how cwnd is used is of the time until this is acknowledged:
    cdef uint32_t usage, usage_most     # bytes that were out at most, then and since `limited_at`
    cdef double burst               # bytes that may still leave before the pace counts
    # keepalive
    cdef double keep_idle, keep_interval
    cdef int keep_probes
    cdef int events                     # timers' events in the calendar
    cdef readonly uint64_t retransmits
    cdef readonly uint64_t spurious     # reductions taken back
    cdef readonly uint64_t dsacks
    cdef bint driven                    # by an application
    cdef public int tag                 # the application's own
    cdef void write(self, object data, bint more=*) noexcept
    cdef bytes read(self, uint32_t size)
    cdef uint64_t read_count(self, uint32_t size) noexcept
    cdef void finish_sending(self) noexcept
    cdef double fin_timeout(self) noexcept
    cdef void start(self, int state) noexcept
    cdef uint32_t ts_now(self) noexcept
    cdef double ts_time(self, uint32_t ts) noexcept
    cdef int payload(self) noexcept
    cdef int room(self) noexcept
    cdef int sack_blocks(self, Range* block) noexcept
    cdef uint32_t syn_flags(self) noexcept
    cdef bint fin_acked(self) noexcept
    cdef uint32_t widest(self) noexcept
    cdef uint32_t window(self) noexcept
    cdef uint32_t first_window(self, bint passive) noexcept
    cdef void has_been_read(self) noexcept
    cdef void is_held(self, int by) noexcept
    cdef double burst_size(self) noexcept
    cdef void validate(self, bint limited) noexcept
    cdef void remember(self) noexcept
    cdef bint cwnd_is_used(self) noexcept
    cdef int syn_options(self, uint8_t* o, uint32_t flags) noexcept
    cdef int options(self, uint8_t* o) noexcept
    cdef void emit(self, uint32_t flags, uint32_t seq, uint64_t at, uint32_t n) noexcept
    cdef bytes stream(self, uint64_t at, uint32_t n)
    cdef void arm(self, int timer, double delay) noexcept
    cdef void wait(self, int timer) noexcept
    cdef void fire(self, uint64_t token) noexcept
    cdef void finish(self) noexcept
    cdef void die(self, int number) noexcept
    cdef void keep_alive(self) noexcept
    cdef object take(self, uint32_t size, bint count)
    cdef void keep(self, uint32_t n, bytes data) noexcept
    cdef void wake_reader(self) noexcept
    cdef uint64_t position(self, uint32_t seq) noexcept
    cdef void push(self) noexcept
    cdef void restart_slowly(self, double now) noexcept
    cdef void spend(self, uint32_t n) noexcept
    cdef void send_new(self, uint32_t flags, uint64_t at, uint32_t n) noexcept
    cdef void resend(self, uint32_t i) noexcept
    cdef void set_probe(self) noexcept
    cdef void probe(self) noexcept
    cdef void timeout(self) noexcept
    cdef void shrink_mss(self) noexcept
    cdef void enter(self, int ca) noexcept
    cdef void undo(self) noexcept
    cdef void leave(self) noexcept
    cdef void detect(self, Sample* r) noexcept
    cdef void sample_rtt(self, double rtt) noexcept
    cdef void packet(self, Frame* f, uint32_t l4) noexcept
    cdef void agree(self, const Options* p) noexcept
    cdef void segment(self, Frame* f, uint32_t l4) noexcept
    cdef bint too_often(self, uint32_t n) noexcept
    cdef bint reopen(self, Frame* f, uint32_t l4, uint32_t seq, const Options* p) noexcept
    cdef void note_duplicate(self, uint32_t seq, uint32_t n) noexcept
    cdef void see_ce(self, bint ce, uint32_t flags) noexcept
    cdef void in_syn_sent(self, uint32_t flags, uint32_t seq, uint32_t ack, uint32_t wnd, const Options* p) noexcept
    cdef void sample_handshake(self) noexcept
    cdef void establish(self, uint32_t wnd, uint32_t seq) noexcept
    cdef void acknowledge(self, uint32_t ack, uint32_t wnd, uint32_t seq, uint32_t n, uint32_t flags, const Options* p) noexcept
    cdef void heed_dsack(self, uint32_t start, uint32_t end) noexcept
    cdef void react(self, Sample* r, bint moved, bint dsack) noexcept
    cdef void proportional(self, const Sample* r, bint lost) noexcept
    cdef void newreno(self, Sample* r, bint moved) noexcept
    cdef void fin_is_acked(self) noexcept
    cdef void release(self, uint32_t acked) noexcept
    cdef void accept_data(self, Frame* f, uint32_t off, uint32_t seq, uint32_t n, uint32_t flags) noexcept
    cdef void drain(self) noexcept
    cdef void enter_time_wait(self) noexcept
    cdef void error(self, int kind, int code, uint32_t info) noexcept

cdef class TcpListener(Endpoint):
    cdef Namespace ns
    cdef object queue
    cdef object getters
    cdef readonly set half_open
    cdef readonly int backlog
    cdef public uint64_t overflows
    cdef dict options
    cdef bint full(self) noexcept
    cdef void ready(self, TcpSocket sock) noexcept
    cdef void syn(self, Frame* f, uint32_t l4) noexcept
