PROTOCOL_NAMES: dict[int, str]
