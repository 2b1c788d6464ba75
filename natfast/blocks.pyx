"""Enhanced packet blocks on their way to a pcapng file."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef enum:
    ROOM = 1 << 20              # more than any frame: 65 549 bytes


cdef class BlockBuffer:
    """Encodes blocks and hands them to the writer a megabyte at a time.

    Parameters
    ----------
    writer : natfast.capture.PcapngWriter
    """

    def __cinit__(self, writer):
        self.writer = writer
        self.data = <uint8_t*>malloc(ROOM)
        if self.data == NULL:
            raise MemoryError
        writer.before_closing(self.flush)

    def __dealloc__(self):
        free(self.data)

    def flush(self):
        """Hand over what is there."""
        if self.error is not None:
            raise self.error
        size, self.size = self.size, 0
        self.writer.append(PyBytes_FromStringAndSize(<char*>self.data, size))

    cdef void add(self, uint32_t interface, uint64_t ns, const uint8_t* frame, uint32_t have, uint32_t kept, uint32_t length) noexcept:
        """A block with the first `kept` of a frame's `length` bytes; of them `have` are in memory, the rest zeros."""
        cdef uint32_t padded = (kept + 3) & ~<uint32_t>3, total = 32 + padded, n = have if have < kept else kept
        cdef uint32_t* w
        if self.size + total > ROOM:
            try:
                self.flush()
            except Exception as error:          # a full disk: said when the file is closed
                self.error = error
                self.size = 0
        w = <uint32_t*>(self.data + self.size)
        w[0] = 6
        w[1] = total
        w[2] = interface
        w[3] = <uint32_t>(ns >> 32)
        w[4] = <uint32_t>ns
        w[5] = kept
        w[6] = length
        memcpy(<uint8_t*>w + 28, frame, n)
        memset(<uint8_t*>w + 28 + n, 0, padded - n)
        w[7 + padded // 4] = total
        self.size += total
