STATES: tuple[str, ...]
ORIGINAL_TABLE: tuple[tuple[int, ...], ...]
REPLY_TABLE: tuple[tuple[int, ...], ...]
