"""``python scripts/offline.py FOLDER``: does a site load anything from a network? Links that somebody may follow are none."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

LOADING = {"src", "srcset", "data", "poster", "action", "background"}
"""Attributes that load what they name; ``href`` does in ``link`` alone, apart from what a ``link`` only states."""
STATED = {"canonical", "prev", "next", "author", "license"}
ADDRESS = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
IN_STYLES = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")]+)", re.IGNORECASE)


def main(folder: Path) -> int:
    """Print what is loaded; how many addresses that are."""
    pages = list(folder.rglob("*.html"))
    found = [f"{path}: {address}" for path in pages for address in loaded(path.read_text(encoding="utf-8"))]
    found += [f"{path}: {a}" for path in folder.rglob("*.css") for a in IN_STYLES.findall(path.read_text(encoding="utf-8"))]
    print("\n".join(found) or f"{len(pages)} pages in {folder}, which load nothing from a network")
    return len(found) or not pages


def loaded(page: str) -> list[str]:
    """The addresses of a network that a page loads."""
    parser = _Resources()
    parser.feed(page)
    return parser.found + IN_STYLES.findall(page)


class _Resources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what it loads."""
        given = dict(attrs)
        loads = LOADING | ({"href"} if tag == "link" and not STATED & set((given.get("rel") or "").split()) else set())
        self.found += [value for name, value in attrs if name in loads and value and ADDRESS.match(value)]


if __name__ == "__main__":
    sys.exit(min(main(Path(sys.argv[1])), 1))
