"""The rooms of the house and the arrows between them: ``python scripts/rooms.py`` draws them in docs/architecture.md anew."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline"
DRAWING = ROOT / "docs/architecture.md"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in PACKAGE.rglob("*.py")
}
FLOORS = (
    ("config", "statistics"),
    ("schedulers",),
    ("problems",),
    ("data",),
    ("catalogue", "custom"),
    ("engine", "trial"),
    ("runs",),
    ("search",),
    ("analysis", "tracking"),
    ("cli",),
    ("stages",),
    ("comparing",),
    ("commands",),
)
"""From the bottom up. A module imports from its own room or from floors below; rooms of one floor do not know each other."""
OF_NO_RESULT = {"tracking", "cli"}
"""Rooms that change no file under ``data/``, ``results/`` and ``reports/``."""


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


def room_of(module: str) -> str:
    """The room that a module stands in, or the module itself where it stands in none."""
    return module.split(".")[1] if "." in module else ""


def closure(module: str) -> set[str]:
    """The module and all of the package that it imports, directly or not."""
    found: set[str] = set()
    ahead = {module}
    while ahead:
        found |= ahead
        ahead = {name for module in ahead for name in own(module)} - found
    return found


def rooms_needed(stage: str) -> set[str]:
    """The rooms that what a stage writes follows from.

    Those that make a dataset of a table are in the dataset itself, for all stages behind that one.
    """
    ahead, found = {f"pipeline.stages.{stage}"}, set[str]()
    while ahead:
        found |= ahead
        ahead = {name for module in ahead for name in own(module) if room_of(name) not in OF_NO_RESULT} - found
    beside = set() if stage in {"check", "dataset"} else {"data"}
    return {room_of(name) for name in found} - beside - {"stages"}


def arrows() -> dict[str, set[str]]:
    """Which rooms each room imports from."""
    found: dict[str, set[str]] = {room: set() for floor in FLOORS for room in floor}
    for module in MODULES:
        if room := room_of(module):
            found.setdefault(room, set()).update(room_of(name) for name in own(module))
    return {room: uses - {room, ""} for room, uses in found.items()}


def drawing() -> str:
    """The rooms as a Mermaid graph, and a table. Arrows that follow from others are left out."""
    uses = arrows()

    def reached(room: str) -> set[str]:
        return uses[room].union(*(reached(other) for other in uses[room]))

    lines = ["```mermaid", "graph TD"]
    for floor in reversed(FLOORS):
        for room in floor:
            direct = {other for other in uses[room] if not any(other in reached(way) for way in uses[room] - {other})}
            lines += [f"  {room} --> {other}" for other in sorted(direct)]
    lines += ["```", "", "| room | what is in it |", "|---|---|"]
    for floor in reversed(FLOORS):
        lines += [_row(room) for room in floor]
    return "\n".join(lines)


def _row(room: str) -> str:
    main = MODULES[f"pipeline.{room}"]
    told = (ast.get_docstring(ast.parse(main.read_text("utf-8"))) or "").split("\n\n")[0].replace("\n", " ")
    return f"| `{room}` | {told} |"


def main() -> None:
    """Draw anew what stands between the marks."""
    text = DRAWING.read_text(encoding="utf-8")
    marked = f"<!-- rooms -->\n{drawing()}\n<!-- /rooms -->"
    DRAWING.write_text(re.sub(r"<!-- rooms -->.*<!-- /rooms -->", lambda _: marked, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
