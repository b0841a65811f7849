"""C text → a loaded library, compiled once for this machine and kept for all later processes."""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.errors import PipelineError, shortage
from pipeline.engine import cache

FLAGS = (
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp-simd",
    "-std=gnu11",
    "-shared",
    "-fPIC",
    "-w",
)


class NoCompilerError(Exception):
    """There is no C compiler, or it refuses; the message says which."""


class ShortageError(PipelineError):
    """There is one, and it cannot run at the moment: runs that are named as those of a machine without one would be wrong."""


AGAIN = "call it again when there is some, what was trained is kept"


@dataclass(frozen=True)
class Machine:
    """What a C compiler makes of this processor: its name for it, bytes in a vector and vector registers."""

    compiler: str
    target: str
    vector: int
    registers: int

    @property
    def flags(self) -> tuple[str, ...]:
        """Those of the compiler here: GCC by itself leaves half of a wide vector empty."""
        return (*FLAGS, "-mprefer-vector-width=512") if self.vector == 64 else FLAGS


@functools.cache
def machine() -> Machine:
    """This machine; raises :class:`NoCompilerError`."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        raise NoCompilerError("there is no C compiler (`apt install gcc` brings one)")
    text = _call([compiler, "-march=native", "-dM", "-E", "-x", "c", os.devnull])
    version = _call([compiler, "--version"]).splitlines()[0]
    target = hashlib.sha256((version + text).encode()).hexdigest()[:16]
    if "__AVX512F__" in text:
        return Machine(compiler, target, vector=64, registers=32)
    if "__AVX__" in text:
        return Machine(compiler, target, vector=32, registers=16)
    return Machine(compiler, target, vector=16, registers=32 if "__aarch64__" in text else 16)


def identity() -> str:
    """A name for what this machine compiles with, or that it does not: compiled code may round in another way."""
    try:
        return machine().target
    except NoCompilerError:
        return "none"


def kept(key: str, write: Callable[[], str]) -> ctypes.CDLL:
    """The library of the C text that ``write`` returns, compiled unless one was kept under ``key``.

    ``key`` has to name all that the text follows from. Raises :class:`NoCompilerError` where it cannot be made or loaded.
    """
    name = f"{name_of(key)}.so"
    if is_kept(key):
        with contextlib.suppress(OSError):
            return ctypes.CDLL(str(cache.folder() / name))
    try:
        return ctypes.CDLL(str(cache.keep(name, _compiled(write()))))
    except OSError as error:
        raise NoCompilerError(f"what was compiled cannot be kept or loaded ({error})") from None


def is_kept(key: str) -> bool:
    """Whether a library was compiled under that key, and is whole: one that was cut off would end the process."""
    return cache.read(f"{name_of(key)}.so") is not None


def name_of(key: str) -> str:
    """A name for what is compiled under that key on this machine; raises :class:`NoCompilerError`."""
    here = machine()
    return hashlib.sha256("\n".join([key, here.target, *here.flags]).encode()).hexdigest()[:32]


def _compiled(text: str) -> bytes:
    here = machine()
    with tempfile.TemporaryDirectory() as temporary:
        written = Path(temporary) / "lanes.c"
        written.write_text(text, "utf-8")
        made = written.with_suffix(".so")
        _call([here.compiler, *here.flags, str(written), "-o", str(made), *_libraries()])
        return made.read_bytes()


def _libraries() -> list[str]:
    """The mathematical functions; those for whole vectors where glibc has them, on x86."""
    wide = platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"
    return ["-lmvec", "-lm"] if wide else ["-lm"]


def _call(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        if lacking := shortage(error):
            raise ShortageError(f"{command[0]} cannot be run for lack of {lacking}; {AGAIN}") from error
        raise NoCompilerError(f"{command[0]} does not run ({error})") from None
    if done.returncode < 0:
        raise ShortageError(f"{command[0]} was killed, perhaps for lack of memory; {AGAIN}")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it says nothing"]
        line = next((line for line in lines if "error:" in line), lines[0])
        raise NoCompilerError(f"{command[0]} fails: {line[:200]}")
    return done.stdout
