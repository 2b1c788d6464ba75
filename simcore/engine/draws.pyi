import numpy as np

class Draws:
    def __init__(self, rng: np.random.Generator) -> None: ...
