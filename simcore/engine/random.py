"""Named random streams: one source of randomness each, so that adding one never shifts another's draws."""
from __future__ import annotations

import zlib

import numpy as np


class Streams:
    """Generators by name, all from one seed (`numpy.random.SeedSequence`).

    >>> a = Streams(1)["web"].random()
    >>> s = Streams(1)
    >>> _ = s["other"].random()
    >>> bool(s["web"].random() == a)
    True
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._streams: dict[str, np.random.Generator] = {}

    def __getitem__(self, name: str) -> np.random.Generator:
        if name not in self._streams:
            key = (zlib.crc32(name.encode()), len(name))
            self._streams[name] = np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))
        return self._streams[name]

    def integer(self, name: str) -> int:
        """A 63-bit seed for what draws by itself (a port choice, an ISN)."""
        return int(self[name].integers(0, 1 << 63))
