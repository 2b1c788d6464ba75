"""Timers that cost nothing to cancel or put off.

At most one event of a timer waits in the calendar. Moving the deadline back only changes a number: the
event finds the new one when it fires, and goes on. Only an earlier deadline needs another event; the one
left over is stale, and known by its time.
"""

ctypedef struct Timer:
    double deadline             # 0 if not armed
    double event                # time of the event that counts, infinity if none waits

cdef enum:
    TIMER_STALE = 0             # nothing to do
    TIMER_DUE = 1
    TIMER_AGAIN = 2             # not yet: schedule again at `event`

cdef inline void timer_init(Timer* t) noexcept nogil:
    t.deadline = 0
    t.event = 1e300

cdef inline bint timer_arm(Timer* t, double deadline) noexcept nogil:
    """(Re)start; True if an event has to be scheduled at `deadline`."""
    t.deadline = deadline
    if deadline < t.event:
        t.event = deadline
        return True
    return False

cdef inline void timer_cancel(Timer* t) noexcept nogil:
    t.deadline = 0

cdef inline int timer_fire(Timer* t, double now) noexcept nogil:
    """What the event at `now` means."""
    if now != t.event:
        return TIMER_STALE
    if t.deadline > now:
        t.event = t.deadline
        return TIMER_AGAIN
    t.event = 1e300
    if t.deadline == 0:
        return TIMER_STALE
    t.deadline = 0
    return TIMER_DUE
