"""The code that a run's numbers follow from, and the versions and the machine it runs on.

This is the one statement of it. A user's own code counts function by function, see :mod:`pipeline.config.user_code`.
"""

import ast
import functools
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from pipeline.config import custom_module
from pipeline.config.fingerprints import fingerprint
from pipeline.config.user_code import source_of
from pipeline.engine import compiler
from pipeline.engine.cache import remembered
from pipeline.problems.problem import Problem
from pipeline.problems.scripts import ScriptProblem

DEFINING = ("config/units.py", "config/registry.py", "config/callables.py", "schedulers", "problems", "engine")
"""What a run's numbers follow from beside its parameters and data: these rooms, and these files of ``config``."""
PACKAGES = ("numpy", "schedulefree", "torchmetrics")
MIXED = "PIPELINE_EXECUTOR_MIXED"
"""The variable that, as ``yes``, allows a cluster's machines to be of several kinds: then runs have names of their own."""


OF_SCRIPTS = ("config/units.py", "config/registry.py", "config/callables.py", "schedulers", "trial.py")
"""The same of a script's runs, whose training is the script's."""


OF_STAGES = ("catalogue.py", "config", "data", "engine", "problems", "schedulers", "trial.py")
"""What the files of every stage follow from, beside the user's own code and ``PINS``."""
PINS = (Path("constraints.txt"), Path("requirements.txt"))


def code_of_stages() -> str:
    """A name for all of that, the same on every machine: DVC compares it in place of the files."""
    pins = [path.read_text("utf-8") for path in PINS if path.is_file()]
    return fingerprint(_named(OF_STAGES, ()), source_of(*custom_module.modules()), *pins)


def code_of(problem: Problem) -> str:
    """A name for the code that a problem's runs follow from."""
    if not isinstance(problem, ScriptProblem):
        return code_fingerprint()
    return _named(OF_SCRIPTS, (torch.__version__, *_where()))


def code_fingerprint(*more: str) -> str:
    """A name for the code that defines a run's numbers, and for the versions it runs on.

    ``more`` names further files and folders of the package, for results that depend on them too.
    """
    return _named((*DEFINING, *more), (torch.__version__, *_where(compiler.identity()), *_versions()))


def _where(*more: str) -> tuple[str, ...]:
    """What names the machine, unless it may be any."""
    return (MIXED,) if is_mixed() else (platform.machine(), platform.python_version(), *more)


def is_mixed() -> bool:
    """Whether runs may be trained on machines of several kinds, which may round differently."""
    return os.environ.get(MIXED) == "yes"


def kind() -> dict[str, str]:
    """What makes this machine's numbers what they are, by name: two that say the same train the same."""
    found = {"torch": torch.__version__, "Python": platform.python_version(), "processor": platform.machine()}
    found |= {"compiler and instruction set": compiler.identity(), **dict(zip(PACKAGES, _versions(), strict=True))}
    return found


@functools.cache
def _versions() -> tuple[str, ...]:
    return tuple(map(version, PACKAGES))


@functools.cache
def _named(parts: tuple[str, ...], kind: tuple[str, ...]) -> str:
    """A name for these parts of the package on a kind of machine; thousands of runs ask for it."""
    package = Path(__file__).parents[1]
    folders = [package / part for part in parts if not Path(part).suffix]
    files = [package / part for part in parts if Path(part).suffix]
    files += [f for folder in folders for pattern in ("*.py", "*.c") for f in sorted(folder.rglob(pattern))]
    texts = {str(f.relative_to(package)): f.read_text("utf-8") for f in files}  # read once: it is the code that is running

    def find() -> str:
        return fingerprint({name: _meaning(name, text) for name, text in texts.items()})

    key = fingerprint(texts, Path(__file__).read_text("utf-8"), platform.python_version())
    return fingerprint(remembered(f"code {key}", find), *kind)


def _meaning(name: str, text: str) -> str:
    """The file's text; of Python its syntax, without comments, docstrings and what errors say."""
    return ast.dump(_Meaning().visit(ast.parse(text))) if name.endswith(".py") else text


class _Meaning(ast.NodeTransformer):
    """Leaves out what no number follows from."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """A text that stands by itself."""
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Pass() if is_text else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """The words of an error."""
        return ast.Raise(node.exc.func if isinstance(node.exc, ast.Call) else node.exc, node.cause)
