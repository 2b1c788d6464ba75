"""A bint that takes one byte, where there are thousands of it."""

cdef extern from *:
    ctypedef bint Flag "_Bool"
