"""The Cython extensions; everything else about the build is in pyproject.toml."""
import os
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("NATFAST_DEBUG") == "1"          # bounds checks and AddressSanitizer
SYMBOLS = os.environ.get("NATFAST_SYMBOLS") == "1"      # what a profiler wants; they are a fifth of the compiler's time
flags = (["-O1", "-g", "-fsanitize=address", "-fno-omit-frame-pointer"] if DEBUG
         else ["-fno-strict-aliasing", "-g" if SYMBOLS else "-g0"])
link = ["-fsanitize=address"] if DEBUG else []

# NumPy's distributions, to draw from its generators without Python
NPYRANDOM = {"libraries": ["npyrandom", "m"], "library_dirs": [str(Path(numpy.random.__file__).parent / "lib")]}
LIBRARIES = {"simcore/engine/draws.pyx": NPYRANDOM}


def optimised(source: str) -> list[str]:
    """What is done to each packet or segment gets all that the compiler can do; elsewhere that only takes it longer."""
    return [] if DEBUG else ["-O3" if Path(source).is_relative_to("natfast") or Path(source).is_relative_to("simcore/transport") else "-O2"]


sources = sorted(str(p) for package in ("natfast", "simcore") for p in Path(package).rglob("*.pyx"))
extensions = [
    Extension(s[:-4].replace(os.sep, "."), [s], include_dirs=["natfast", numpy.get_include()],
              depends=sorted(str(p) for p in Path("natfast").glob("*.h")),
              extra_compile_args=[*flags, *optimised(s), "-Wno-unused-function"],
              define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")], extra_link_args=link,
              **LIBRARIES.get(Path(s).as_posix(), {}))
    for s in sources
]
setup(ext_modules=cythonize(
    extensions,
    nthreads=os.cpu_count() or 1,
    annotate=os.environ.get("NATFAST_ANNOTATE") == "1",
    compiler_directives={
        "language_level": 3, "boundscheck": DEBUG, "wraparound": False, "cdivision": True,
        "initializedcheck": False, "embedsignature": True,
    },
))
