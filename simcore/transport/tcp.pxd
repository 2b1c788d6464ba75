"""TCP connections and listeners as C sees them."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from simcore.engine.calendar cimport Handler
from simcore.engine.frame cimport Frame
from simcore.net.endpoints cimport Endpoint
from simcore.net.namespace cimport Namespace
from simcore.transport.options cimport Options
from simcore.transport.sender cimport Sender
from simcore.transport.tcb cimport Waiters

cdef class App(Handler):
    """What a compiled application is told by its sockets; it may call their methods at once."""
    cdef void connected(self, TcpSocket s) noexcept
    cdef void data(self, TcpSocket s) noexcept              # bytes can be read
    cdef void ended(self, TcpSocket s) noexcept             # the other side has closed
    cdef void gone(self, TcpSocket s, int number) noexcept  # over: errno, 0 if in good order

cdef class TcpSocket(Sender):
    cdef void write(self, object data, bint more=*) noexcept
    cdef bytes read(self, uint32_t size)
    cdef uint64_t read_count(self, uint32_t size) noexcept
    cdef void finish_sending(self) noexcept
    cdef Waiters waits(self)
    cdef double fin_timeout(self) noexcept
    cdef void start(self, int state) noexcept
    cdef uint32_t widest(self) noexcept
    cdef uint32_t window(self) noexcept
    cdef uint32_t first_window(self, bint passive) noexcept
    cdef void has_been_read(self) noexcept
    cdef int syn_options(self, uint8_t* o, uint32_t flags) noexcept
    cdef int options(self, uint8_t* o) noexcept
    cdef void fire(self, uint64_t token) noexcept
    cdef void finish(self) noexcept
    cdef void keep_alive(self) noexcept
    cdef object take(self, uint32_t size, bint count)
    cdef void keep(self, uint32_t n, bytes data) noexcept
    cdef void wake_reader(self) noexcept
    cdef void packet(self, Frame* f, uint32_t l4) noexcept
    cdef void agree(self, const Options* p) noexcept
    cdef void segment(self, Frame* f, uint32_t l4) noexcept
    cdef bint reopen(self, Frame* f, uint32_t l4, uint32_t seq, const Options* p) noexcept
    cdef void note_duplicate(self, uint32_t seq, uint32_t n) noexcept
    cdef void see_ce(self, bint ce, uint32_t flags) noexcept
    cdef void in_syn_sent(self, uint32_t flags, uint32_t seq, uint32_t ack, uint32_t wnd, const Options* p) noexcept
    cdef void sample_handshake(self) noexcept
    cdef void establish(self, uint32_t wnd, uint32_t seq) noexcept
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
    cdef App app                            # None: a process calls `accept`
    cdef readonly int most, taken
    cdef public uint64_t overflows
    cdef dict options
    cdef bint full(self) noexcept
    cdef void ready(self, TcpSocket sock) noexcept
    cdef void syn(self, Frame* f, uint32_t l4) noexcept
    cdef void hand_over(self, TcpSocket sock) noexcept
    cdef void released(self) noexcept
