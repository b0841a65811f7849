"""The README and the documentation as tests read them."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + DOCS


def text(name: str) -> str:
    """Of a page, by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """What a page shows in fences of that language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """A page's commands, in order, without what is said beside them; a block with a document in it is one."""
    return [command for block in blocks(page, "sh") for command in _commands(block)]


def _commands(block: str) -> Iterator[str]:
    if "<<" in block:
        yield block
    else:
        joined = block.replace("\\\n", " ")
        yield from (line.split(" # ")[0].strip() for line in joined.splitlines())


def shown(path: Path) -> str:
    """A page's path as one says it."""
    return path.relative_to(ROOT).as_posix()
