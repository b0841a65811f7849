"""Write each stage's ``deps`` in dvc.yaml anew: the files it imports. Run it after an import was added or taken away."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
MIRRORS = {"pipeline.tracking"}  # they decide no result
FOLDERS = ("analysis", "engine", "problems", "search")  # a short dvc.lock is read sooner
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "pipeline").rglob("*.py")
}


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


def files(stage: str) -> list[str]:
    """The stage's files, sorted; a folder where it needs all of one."""
    paths = {MODULES[name].relative_to(ROOT).as_posix() for name in closure(f"pipeline.stages.{stage}")}
    code = {path for path in paths if not path.endswith("__init__.py")}
    for folder in (f"pipeline/{name}" for name in FOLDERS):
        inside = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py"}
        if inside <= code:
            code = code - inside | {folder}
    return sorted(code)


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
