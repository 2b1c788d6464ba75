"""The time that a host's cores spend on packets."""
from libc.stdint cimport uint32_t, uint64_t
from natfast.packet cimport Packet
from simcore.engine.draws cimport Draws
from simcore.engine.frame cimport Frame
from simcore.net.namespace cimport Namespace
from simcore.net.processor cimport Processor
from simcore.net.ways cimport Way

cdef enum:                          # Held.kind
    TO_WIRE = 0
    TO_NEIGHBOUR = 1
    TO_SOCKET = 2

ctypedef struct Held:               # what a packet's handling has put out
    Frame* frame
    int kind
    void* to                        # Interface, or an owned Endpoint
    uint32_t l4                     # of the frame, if it goes to a socket
    Way way                         # if it goes to a neighbour

ctypedef struct Waiting:
    Frame* frame
    uint32_t port

ctypedef struct Core:
    Waiting* ring
    uint32_t head
    uint32_t tail
    bint busy
    Held* held
    uint32_t n_held
    uint32_t room
    Packet unconfirmed              # of the packet at hand, if it opens a connection
    double busy_time                # s
    double until
    uint64_t packets
    uint64_t dropped
    uint32_t longest

ctypedef struct Prices:             # s
    double receive
    double bridge
    double route
    double conntrack
    double nat
    double rule
    double new_flow
    double local
    double byte
    double cold

cdef class Cpu(Processor):
    cdef readonly Namespace namespace
    cdef readonly object costs
    cdef Prices price
    cdef Core* core
    cdef readonly int cores
    cdef readonly uint32_t backlog
    cdef readonly bint shared
    cdef Draws variation
    cdef uint32_t mask
    cdef int at                     # the core that is handling a packet
    cdef void begin(self, int core) noexcept
    cdef double cost(self, uint32_t length, uint64_t rules, uint64_t created) noexcept
    cdef Held* place(self, Frame* f, int kind) noexcept
    cdef void enter(self, Core* c, Frame* f, int port) noexcept
