cdef object os_error(int number)
cdef int errno_of_icmp(int kind, int code) noexcept
