"""Where the frames of a capture are."""
from libc.stdint cimport int64_t, uint32_t

# A frame's place in the file, and what the file says of it.
ctypedef struct Record:
    int64_t at
    int64_t ns                  # since the epoch
    uint32_t have               # bytes in the file
    uint32_t length             # bytes on the wire
    uint32_t interface
    uint32_t pad
