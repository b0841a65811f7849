"""Write each stage's ``deps`` in dvc.yaml anew: the files it runs on. Run it after an import was added or taken away."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("analysis", "engine", "problems", "search")  # a short dvc.lock is read sooner
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "pipeline").rglob("*.py")
}
OF_NO_RESULT = ("pipeline.follower", "pipeline.tracking", "pipeline.search.storage")
MIRRORS = {name for name in MODULES if name.startswith(OF_NO_RESULT)}


@cache
def imported(module: str) -> frozenset[str]:
    """Every module that a module imports, anywhere in it; ``from package import module`` counts as both."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def own(module: str) -> frozenset[str]:
    """Those of the package."""
    return (imported(module) & set(MODULES)) - {"pipeline"}


def closure(module: str) -> set[str]:
    """The module and all of the package that it imports, directly or not, the mirrors excepted."""
    found: set[str] = set()
    ahead = {module}
    while ahead:
        found |= ahead
        ahead = {name for module in ahead for name in own(module)} - found - MIRRORS
    return found


def inside(path: Path) -> set[Path]:
    """The files in a folder of the package, or the file itself, without what Python leaves there or says nothing."""
    found = [path] if path.is_file() else path.rglob("*")
    return {each for each in found if each.is_file() and "__pycache__" not in each.parts and not is_bare(each)}


def is_bare(path: Path) -> bool:
    """Whether it is an ``__init__.py`` without code."""
    return path.name == "__init__.py" and all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text("utf-8")).body)


def needed(stage: str) -> set[Path]:
    """All files that a stage runs on: modules, the ``__init__`` of their packages, and what else lies there (C, templates)."""
    modules = {MODULES[name] for name in closure(f"pipeline.stages.{stage}")}
    packages = {parent for module in modules for parent in module.parents if (parent / "__init__.py").exists()}
    beside = {path for path in inside(ROOT / "pipeline") if path.suffix != ".py" and package_of(path) in packages}
    return (
        {path for path in modules if not is_bare(path)} | beside | set().union(*(inside(p / "__init__.py") for p in packages))
    )


def package_of(path: Path) -> Path:
    """The innermost package around a file."""
    return next(parent for parent in path.parents if (parent / "__init__.py").exists())


def files(stage: str) -> list[str]:
    """The stage's files, sorted; a folder where it needs all of one."""
    code = needed(stage)
    for folder in (ROOT / "pipeline" / name for name in FOLDERS):
        if inside(folder) <= code:
            code = code - inside(folder) | {folder}
    return sorted(path.relative_to(ROOT).as_posix() for path in code)


def main() -> None:
    """Replace the lines of code among all deps."""
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")

    def anew(found: re.Match[str]) -> str:
        indent, stage = found["indent"], found["stage"]
        other = [line.strip()[2:] for line in found["deps"].splitlines() if not line.strip().startswith("- pipeline")]
        lines = [f"{indent}  - {dep}" for dep in sorted([*other, *files(stage)])]
        return f"{found['head']}{indent}deps:\n" + "\n".join(lines) + "\n"

    pattern = (
        r"(?P<head> +cmd: python -m pipeline\.stages\.(?P<stage>\w+).*?)(?P<indent>\n? +)deps:\n(?P<deps>(?: +- [^\n]+\n)+)"
    )
    parts = re.sub(pattern.replace(r"\n? +)deps", r" +)deps"), anew, text, flags=re.DOTALL)
    (ROOT / "dvc.yaml").write_text(parts, encoding="utf-8")


if __name__ == "__main__":
    main()
