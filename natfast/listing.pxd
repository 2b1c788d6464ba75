"""Connections as `conntrack -L` lists them."""
from libc.stdint cimport uint32_t
from natfast.table cimport Entry

cdef str entry_text(const Entry* e, uint32_t now, bint acct)
cdef str state_name(const Entry* e)
