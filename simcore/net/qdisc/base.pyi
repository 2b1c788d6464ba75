class Qdisc:
    packets: int
    bytes: int
    dropped: int
    marked: int
    overlimits: int
