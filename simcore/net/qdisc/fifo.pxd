from libc.stdint cimport uint32_t, uint64_t
from simcore.net.qdisc.base cimport FrameQueue, Qdisc

cdef class Fifo(Qdisc):
    cdef FrameQueue queue

cdef class Pfifo(Fifo):
    cdef public uint32_t limit          # packets

cdef class Bfifo(Fifo):
    cdef public uint64_t limit          # bytes
