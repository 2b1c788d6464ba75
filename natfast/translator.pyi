from mmap import mmap

import numpy as np
from numpy.typing import NDArray

from natfast.blocks import BlockBuffer
from natfast.hooks import Netfilter

class Translator:
    translated: int
    returned: int
    other: int
    def __init__(self, nat: Netfilter, iif: str, oif: str, networks: list[tuple[int, int]], own: list[tuple[int, int]],
                 macs: dict[int, bytes], gateway: bytes | None, mac: bytes, blocks: BlockBuffer, interface: int) -> None: ...
    def send(self, data: bytes | memoryview | mmap, records: NDArray[np.void], start: int) -> None: ...
