cdef object os_error(int number)
cdef int errno_of_icmp(int kind, int code) noexcept
cdef int own_ttl(ttl) except -1
