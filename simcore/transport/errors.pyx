"""Errors of sockets as Linux names them."""
import errno
import os

cdef object os_error(int number):
    """OSError whose message begins with the errno's name."""
    return OSError(number, f"{errno.errorcode[number]}: {os.strerror(number)}")


cdef int own_ttl(ttl) except -1:
    """What `setsockopt(IP_TTL)` takes, 0 for None; OSError EINVAL for anything else."""
    if ttl is None:
        return 0
    if not 1 <= ttl <= 255:
        raise os_error(errno.EINVAL)
    return ttl


cdef int errno_of_icmp(int kind, int code) noexcept:
    """What an ICMP error means to a socket (Linux's icmp_err_convert)."""
    if kind == 3:
        if code == 0 or code == 5 or code == 6 or code == 8 or code == 11:
            return 101                      # ENETUNREACH
        if code == 2:
            return 92                       # ENOPROTOOPT
        if code == 3:
            return 111                      # ECONNREFUSED
        if code == 4:
            return 90                       # EMSGSIZE
        return 113                          # EHOSTUNREACH
    if kind == 11:
        return 113
    if kind == 12:
        return 71                           # EPROTO
    return 0
