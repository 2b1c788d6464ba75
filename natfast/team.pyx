"""Several Netfilters, each on a thread of its own, that share a batch of frames by whom its connections belong to."""
import os

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
cimport numpy as np
import numpy

from natfast.arrays cimport Frames, frames_of
from natfast.conntrack cimport Wanted, delete_matching, sweep_all
from natfast.fastpath cimport NATFAST_BYTES, NATFAST_NONE
from natfast.filter cimport NF_ACCEPT
from natfast.headers cimport ETH_HLEN
from natfast.hooks cimport Netfilter, wanted
from natfast.owners cimport Ownership, find_owners, set_ways

np.import_array()

cdef extern from "team.h" nogil:
    enum:
        NATFAST_MEMBERS
    ctypedef struct Threads "natfast_team":
        pass
    ctypedef void (*Task "natfast_task")(void* job, uint32_t member) noexcept
    Threads* threads_new "natfast_team_new"(uint32_t members)
    void threads_free "natfast_team_free"(Threads* t)
    void threads_do "natfast_team_do"(Threads* t, Task task, void* job)
    void threads_meet "natfast_team_meet"(Threads* t)

cdef enum:
    MEMBERS = 64                # NATFAST_MEMBERS
    CHUNK = 16384               # frames that are dealt out together: they stay in the cache until their owners come for them

# The frames of a part of a chunk, found by one member, in the order of their owners.
ctypedef struct Part:
    uint32_t* rows
    uint32_t first[MEMBERS + 1]         # where each owner's begin
    uint32_t pad[15]

# What the members work on.
ctypedef struct Job:
    Threads* threads
    uint32_t members
    void** netfilters                   # borrowed
    Frames frames                       # one batch for all
    Frames* queues                      # or one for each
    Ownership ownership
    int* iif
    int* oif
    double now
    uint8_t* verdicts
    uint8_t** queue_verdicts
    Part* parts                         # of this chunk and the next, one for each member
    uint8_t* owners                     # of a chunk's frames
    uint32_t* rows                      # a chunk's worth for each member, and of two chunks that are dealt out
    Wanted wanted
    uint32_t gone[MEMBERS]


cdef inline Part* part_of(const Job* j, size_t chunk, uint32_t member) noexcept nogil:
    return j.parts + chunk % 2 * j.members + member


cdef void deal(Job* j, size_t chunk, uint32_t me) noexcept nogil:
    """Find the owners of my part of a chunk."""
    cdef size_t first = chunk * CHUNK, n = min(j.frames.count - first, <size_t>CHUNK), at = n * me // j.members, k
    cdef uint32_t count = <uint32_t>(n * (me + 1) // j.members - at), member
    cdef uint8_t* owner = j.owners + at
    cdef Part* part = part_of(j, chunk, me)
    cdef uint32_t next[MEMBERS + 1]
    memset(next, 0, sizeof(next))
    part.rows = j.rows + (j.members + chunk % 2) * CHUNK + at
    find_owners(&j.ownership, j.frames.at + (first + at) * j.frames.stride, j.frames.stride, j.frames.lengths + first + at, count, owner)
    memset(j.verdicts + first + at, NF_ACCEPT, count)
    for k in range(count):
        next[owner[k] + 1] += 1
    for member in range(j.members):
        next[member + 1] += next[member]
    memcpy(part.first, next, sizeof(next))
    for k in range(count):
        part.rows[next[owner[k]]] = <uint32_t>(first + at + k)
        next[owner[k]] += 1


cdef void forward_mine(Job* j, size_t chunk, uint32_t me) noexcept nogil:
    """Forward what is mine of a chunk, in order."""
    cdef uint32_t* rows = j.rows + <size_t>me * CHUNK
    cdef size_t count = 0
    cdef uint32_t member, n
    cdef const Part* part
    for member in range(j.members):
        part = part_of(j, chunk, member)
        n = part.first[me + 1] - part.first[me]
        memcpy(rows + count, part.rows + part.first[me], n * sizeof(uint32_t))
        count += n
    if count:
        (<Netfilter>j.netfilters[me]).forward_all(j.frames.at, j.frames.stride, j.frames.lengths, rows, count, j.iif[me], j.oif[me], j.now,
                                                  NULL, NULL, j.verdicts, NULL, NULL)


cdef void forward_batch(void* job, uint32_t me) noexcept nogil:
    """A member's share of a batch: who is done with his of a chunk finds owners of the next, and they meet once a chunk."""
    cdef Job* j = <Job*>job
    cdef size_t chunks = (j.frames.count + CHUNK - 1) // CHUNK, chunk
    deal(j, 0, me)
    for chunk in range(chunks):
        threads_meet(j.threads)
        if chunk + 1 < chunks:
            deal(j, chunk + 1, me)
        forward_mine(j, chunk, me)


cdef void forward_queue(void* job, uint32_t me) noexcept nogil:
    """A member's queue."""
    cdef Job* j = <Job*>job
    cdef Frames* f = &j.queues[me]
    if f.count:
        (<Netfilter>j.netfilters[me]).forward_all(f.at, f.stride, f.lengths, NULL, f.count, j.iif[me], j.oif[me], j.now, NULL, NULL,
                                                  j.queue_verdicts[me], NULL, NULL)


cdef void expire_mine(void* job, uint32_t me) noexcept nogil:
    cdef Job* j = <Job*>job
    (<Netfilter>j.netfilters[me]).clock(j.now)
    j.gone[me] = sweep_all(&(<Netfilter>j.netfilters[me]).c)


cdef void delete_mine(void* job, uint32_t me) noexcept nogil:
    cdef Job* j = <Job*>job
    j.gone[me] = delete_matching(&(<Netfilter>j.netfilters[me]).c, &j.wanted)


cdef class Team:
    """Threads that forward for `netfilters`, one for each; the caller's is the first's.

    Parameters
    ----------
    netfilters : list of Netfilter
        1 to 64, with the same interfaces.
    key : int
        64 bits; whose a connection is follows from it.

    Raises
    ------
    ValueError
        If there are too many or none.
    RuntimeError
        If the system gives no more threads.
    """

    cdef list netfilters
    cdef Job job
    cdef object process         # threads do not outlive a fork
    cdef bint busy

    def __cinit__(self, list netfilters, uint64_t key):
        cdef uint32_t k = <uint32_t>len(netfilters), i
        cdef Job* j = &self.job
        if not 1 <= len(netfilters) <= NATFAST_MEMBERS:
            raise ValueError(f"workers: expected 1 to {NATFAST_MEMBERS}, got {len(netfilters)}")
        self.netfilters = netfilters
        self.process = os.getpid()
        j.members = k
        j.ownership.key = key
        j.ownership.workers = k
        j.netfilters = <void**>malloc(k * sizeof(void*))
        j.queues = <Frames*>malloc(k * sizeof(Frames))
        j.queue_verdicts = <uint8_t**>malloc(k * sizeof(uint8_t*))
        j.iif = <int*>malloc(k * sizeof(int))
        j.oif = <int*>malloc(k * sizeof(int))
        j.parts = <Part*>malloc(2 * k * sizeof(Part))
        j.owners = <uint8_t*>malloc(CHUNK)
        j.rows = <uint32_t*>malloc((k + 2) * CHUNK * sizeof(uint32_t))
        if (j.netfilters == NULL or j.queues == NULL or j.queue_verdicts == NULL or j.iif == NULL or j.oif == NULL or j.parts == NULL
                or j.owners == NULL or j.rows == NULL):
            raise MemoryError
        for i in range(k):
            j.netfilters[i] = <void*>(<Netfilter?>netfilters[i])
        j.threads = threads_new(k)
        if j.threads == NULL:
            raise RuntimeError(f"cannot start {k - 1} threads")

    def __dealloc__(self):
        if self.job.threads != NULL and os.getpid() == self.process:
            threads_free(self.job.threads)
        free(self.job.netfilters)
        free(self.job.queues)
        free(self.job.queue_verdicts)
        free(self.job.iif)
        free(self.job.oif)
        free(self.job.parts)
        free(self.job.owners)
        free(self.job.rows)

    cdef int begin(self) except -1:
        """Take it, to give it back by `busy`: what the members work on is one thing at a time."""
        if os.getpid() != self.process:
            raise RuntimeError("made before this process was forked, and its threads are not in it: make another")
        if self.busy:
            raise RuntimeError("another thread is using it")
        self.busy = True
        return 0

    cdef void do(self, Task task) noexcept:
        """Have all members do it."""
        with nogil:
            threads_do(self.job.threads, task, &self.job)

    cdef int between(self, str iif, str oif, double now) except -1:
        """Set the interfaces, by each Netfilter's numbers, and the time."""
        cdef uint32_t i
        cdef Netfilter nf
        for i in range(self.job.members):
            nf = self.netfilters[i]
            self.job.iif[i] = nf.number(iif)
            self.job.oif[i] = nf.number(oif)
        self.job.now = now
        return 0

    cdef Ownership ownership(self, const Frames* f, bint from_outside, bint to_outside) noexcept:
        cdef Ownership o = self.job.ownership
        cdef Netfilter nf = self.netfilters[0]
        set_ways(&o, from_outside, to_outside)
        o.unit = nf.unit if f.stride >= ETH_HLEN + NATFAST_BYTES else NATFAST_NONE
        return o

    def owners(self, frames, lengths, bint from_outside, bint to_outside):
        """Number of the member that each frame belongs to: uint8 (n,).

        Parameters
        ----------
        frames, lengths
            As of `Netfilter.forward`.
        from_outside, to_outside : bool
            Do they come in by an interface that leads to the world; do they leave by one?
        """
        cdef Frames f
        frames_of(frames, lengths, &f)
        cdef Ownership ownership = self.ownership(&f, from_outside, to_outside)
        out = numpy.empty(f.count, numpy.uint8)
        cdef uint8_t* o = <uint8_t*>np.PyArray_DATA(out)
        with nogil:
            find_owners(&ownership, f.at, f.stride, f.lengths, f.count, o)
        return out

    def forward(self, frames, lengths, str iif, str oif, double now, bint from_outside, bint to_outside):
        """`Netfilter.forward` of each frame by its owner; frames of one owner stay in order."""
        cdef Frames f
        frames_of(frames, lengths, &f)
        verdicts = numpy.empty(f.count, numpy.uint8)
        if f.count == 0:
            return verdicts
        self.begin()
        try:
            self.between(iif, oif, now)
            self.job.frames = f
            self.job.ownership = self.ownership(&f, from_outside, to_outside)
            self.job.verdicts = <uint8_t*>np.PyArray_DATA(verdicts)
            self.do(forward_batch)
        finally:
            self.busy = False
        return verdicts

    def forward_queues(self, queues, str iif, str oif, double now):
        """`Netfilter.forward` of a queue of (frames, lengths) by each member.

        Raises
        ------
        ValueError
            If there are not as many as members.
        """
        cdef uint32_t i = 0
        cdef list verdicts = []
        if len(queues) != <Py_ssize_t>self.job.members:
            raise ValueError(f"expected {self.job.members} queues, one for each worker, got {len(queues)}")
        self.begin()
        try:
            for i in range(self.job.members):
                frames, lengths = queues[i]
                frames_of(frames, lengths, &self.job.queues[i])
                verdicts.append(numpy.empty(self.job.queues[i].count, numpy.uint8))
                self.job.queue_verdicts[i] = <uint8_t*>np.PyArray_DATA(verdicts[i])
            self.between(iif, oif, now)
            self.do(forward_queue)
        finally:
            self.busy = False
        return verdicts

    def expire(self, double now):
        """`Netfilter.expire` of all; how many went."""
        self.begin()
        self.job.now = now
        return self.remove(expire_mine)

    def delete_conntrack(self, protocol=None, src=None, dst=None, sport=None, dport=None):
        """`Netfilter.delete_conntrack` of all; how many went."""
        cdef Wanted w = wanted(protocol, src, dst, sport, dport)
        self.begin()
        self.job.wanted = w
        return self.remove(delete_mine)

    cdef object remove(self, Task task):
        cdef uint32_t i
        cdef uint64_t gone = 0
        self.do(task)
        for i in range(self.job.members):
            gone += self.job.gone[i]
        self.busy = False
        return gone
