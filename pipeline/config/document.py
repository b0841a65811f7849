"""A YAML file and the place of everything in it, so that a mistake can be told with its line and column."""

import json
import re
import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from pipeline.config.errors import ParamsError
from pipeline.config.wording import visible

Loc = tuple[str | int, ...]
"""A way into the file: keys, and positions in lists."""
_TAG = "tag:yaml.org,2002:"
_TAGS = {_TAG + kind for kind in ("str", "int", "float", "bool", "null", "seq", "map")}
_MERGE = _TAG + "merge"
_DEEPEST = 50
"""Levels: far more than any parameter needs, and far fewer than Python's stack has, whoever shares it."""
_TOO_DEEP = f"is nested deeper than {_DEEPEST} levels"
_UNSEEN = {"Zs", "Zl", "Zp", "Cf"}
"""Unicode's categories of what looks like a blank, or like nothing."""
_REMEDIES = {
    "'\\t'": "indent with spaces",
    "could not find expected ':'": "write `key: value`, with a blank behind the colon",
    "mapping values are not allowed": "indent it, or the line before, like the keys beside it; quote a text with a colon",
    "found '}'": "remove it",
    "found ']'": "remove it",
    "block collection": "leave out the `-` of the entries above, or begin it with one",
    "<block end>": "begin it in the column of the keys beside it, and close what is open before it",
    "expected ',' or": "close the bracket before it, or write a comma",
    "quoted scalar": "close the quotation mark",
    "another document": "leave out the line `---`, or what it parts",
    "undefined alias": "put a text that begins with * in quotes",
    "cannot start any token": "put a text that begins with it in quotes",
}
"""What to do about what the parser says: about the first of these that is in it."""
_BEGINS = "could not find expected ':'", "quoted scalar"
"""What it says of a thing that is wrong where it begins, and is found out further down."""


@dataclass(frozen=True)
class Mistake:
    """What is wrong at ``loc`` (with the key itself, or with its value) and what would be right.

    ``given`` is shown where the file has nothing at ``loc``; else the file's own text is.
    """

    loc: Loc
    wrong: str
    right: str
    given: Any = None
    key: bool = False


@dataclass(frozen=True)
class Document:
    """A file's text and its tree of nodes, which know their places; ``unusable`` tells what was found wrong in building it."""

    name: str
    text: str
    root: Node
    unusable: tuple["Line", ...] = ()

    def error(self, mistakes: Iterable[Mistake]) -> ParamsError:
        """All mistakes in the order of the file, one line each, with what was unusable and without what follows from it."""
        lines = [*self.unusable, *(self._line(mistake) for mistake in mistakes if not self._follows(mistake))]
        return _told(_unseen(self.name, self.text, line.line) or line for line in lines)

    def _follows(self, mistake: Mistake) -> bool:
        _, value, _, found = self._find(mistake.loc)
        return found and not mistake.key and _lacks_something(value)

    def _line(self, mistake: Mistake) -> "Line":
        key, value, path, found = self._find(mistake.loc)
        given = self.source(key if mistake.key else value) if found else _short(mistake.given)
        at = key if mistake.key or _is_empty(value) else value  # an empty value is where the next thing begins
        return self.line(at, path, mistake.wrong, given, mistake.right)

    def _find(self, loc: Loc) -> tuple[Node, Node, Loc, bool]:
        """Key and value at ``loc``, or the nearest above it; the way there; whether it is in the file."""
        key = value = self.root
        path: Loc = ()
        for depth, part in enumerate(loc):
            if isinstance(value, MappingNode):
                entry = {k.value: (k, v) for k, v in value.value}.get(part)
                if entry is None:
                    return key, value, (*path, *loc[depth:]), False
                key, value = entry
                path = (*path, part)
            elif isinstance(value, SequenceNode) and isinstance(part, int):
                key, value = value, value.value[part]
                path = (*path, part)
        return key, value, path, True

    def line(self, at: Node, path: Loc, wrong: str, given: str, right: str) -> "Line":
        """The line about a node of the tree."""
        return Line(self.name, at.start_mark.line + 1, at.start_mark.column + 1, path, wrong, given, right)

    def source(self, node: Node) -> str:
        """The node as it is written in the file."""
        text = self.text[node.start_mark.index : node.end_mark.index]
        return "nothing" if _is_empty(node) else _cut(text.replace("\0", ""))


@dataclass(frozen=True)
class Line:
    """One mistake in the form in which a user reads it."""

    file: str
    line: int
    column: int
    path: Loc
    wrong: str
    given: str
    right: str

    def __str__(self) -> str:
        path = ".".join(map(str, self.path)) or "(the file)"
        return visible(f"{self.file}:{self.line}:{self.column}: {path}: {self.wrong} (given: {self.given}); {self.right}")


def read(path: Path) -> tuple[Document, dict[str, Any]]:
    """The file and its values by YAML 1.2 (`1e-3` is a number, `yes` is text); raises :class:`ParamsError`.

    The values are without what is unusable, so that whoever checks them can tell the rest of the mistakes as well.
    """
    text = _decoded(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser's advice on anchors and YAML 1.1
            document, data = _parsed(path.name, text)
    except ParamsError:
        raise
    except Exception as error:  # noqa: BLE001  # on broken text the parser raises much that it does not document
        raise _told([_unreadable(path.name, text, error)]) from None
    if not isinstance(data, dict):
        if document.unusable:
            raise document.error(())
        wrong = "holds no parameters" if data is None else "is not a mapping"
        right = "write `problems:`, `schedulers:` and so on, each with what it holds"
        raise _told([Line(path.name, 1, 1, (), wrong, _short(data), right)])
    return document, data


def _parsed(name: str, text: str) -> tuple[Document, Any]:
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = _DEEPEST
    root = yaml.compose(text)
    document = Document(name, text, root)
    if root is None:
        return document, None
    sieve = _Sieve(document, yaml)
    document = replace(document, root=sieve.usable(root), unusable=tuple(sieve.lines))
    try:
        return document, yaml.constructor.construct_document(document.root)
    except MarkedYAMLError as error:
        raise _told([*document.unusable, _unreadable(name, text, error)]) from None


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        right = "run in the repository's root, where params.yaml lies"
        raise _told([Line(path.name, 1, 1, (), f"cannot be read: {error.strerror}", str(path), right)]) from None
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", errors="replace")
        given = f"byte 0x{content[error.start]:02x}"
        line, column = _position(before, len(before))
        raise _told([Line(path.name, line, column, (), "is not UTF-8 text", given, "save the file as UTF-8")]) from None


class _Gap(ScalarNode):
    """Stands, empty, in the place of a value that cannot be used."""


def _lacks_something(node: Node) -> bool:
    """Whether there is a gap at the node or in it."""
    if isinstance(node, MappingNode):
        return any(_lacks_something(value) for _, value in node.value)
    if isinstance(node, SequenceNode):
        return any(_lacks_something(item) for item in node.value)
    return isinstance(node, _Gap)


@dataclass
class _Sieve:
    """Takes out of a tree what YAML allows and params.yaml does not, and keeps a line about each.

    That is: strange keys and types, keys given twice, values that hold themselves.
    """

    document: Document
    yaml: YAML
    lines: list["Line"] = field(default_factory=list)

    def usable(self, node: Node, path: Loc = (), above: tuple[Node, ...] = ()) -> Node:
        """The node with all that is usable in it, or a gap."""
        if wrong := self._wrong(node, above):
            self.lines.append(self.document.line(node, path, wrong[0], self.document.source(node), wrong[1]))
            return _Gap(_TAG + "null", "", node.start_mark, node.end_mark)
        above = (*above, node)
        if isinstance(node, MappingNode):
            return MappingNode(node.tag, self._entries(node, path, above), node.start_mark, node.end_mark)
        if isinstance(node, SequenceNode):
            items = [self.usable(item, (*path, index), above) for index, item in enumerate(node.value)]
            return SequenceNode(node.tag, items, node.start_mark, node.end_mark)
        return node

    def _wrong(self, node: Node, above: tuple[Node, ...]) -> tuple[str, str] | None:
        """What is wrong with the node itself, and what would be right."""
        if any(node is other for other in above):
            return "contains itself", "write the value out"
        if len(above) == _DEEPEST:
            return _TOO_DEEP, "write the value out"
        if node.tag not in _TAGS:
            right = "write text (in quotes if need be), a number, true, false, a list or a mapping"
            return "is of a kind that is not used here", right
        if isinstance(node, ScalarNode) and not _is_readable(self.yaml, node):
            return "cannot be read as its type", "write a usual number, true or false"
        return None

    def _entries(self, node: MappingNode, path: Loc, above: tuple[Node, ...]) -> list[tuple[Node, Node]]:
        """The mapping's entries: those with a usable key, the first of each."""
        kept: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            given = self.document.source(key)
            name = key.value if isinstance(key, ScalarNode) else given
            usable = self.usable(value, (*path, name), above)
            if _is_empty(value) and (torn := _torn(key)):
                self.lines.append(self.document.line(key, (*path, name), torn[0], given, torn[1]))
                if ":" in name:  # so that it is not told to be missing, too
                    meant = ScalarNode(_TAG + "str", name.partition(":")[0], key.start_mark, key.end_mark)
                    kept.setdefault(meant.value, (meant, _Gap(_TAG + "null", "", key.start_mark, key.end_mark)))
            elif not isinstance(key, ScalarNode) or key.tag not in {_TAG + "str", _MERGE}:
                wrong, right = "is not text and cannot be a name", "begin it with a letter"
                self.lines.append(self.document.line(key, (*path, given), wrong, given, right))
            elif name in kept:
                wrong = f"is there twice, first in line {kept[name][0].start_mark.line + 1}"
                self.lines.append(self.document.line(key, (*path, name), wrong, given, "remove one of the two"))
            elif key.tag != _MERGE or not isinstance(usable, _Gap):
                kept[name] = key, usable
        return list(kept.values())


def _torn(key: Node) -> tuple[str, str] | None:
    """What is wrong with a key without a value, in braces, that was to be a part of one, or to be parted from it."""
    if key.tag in {_TAG + "int", _TAG + "float"}:
        return "stands behind a comma, which begins the next entry", "write numbers like 0.1 and 1000, without commas"
    before, colon, behind = key.value.partition(":") if isinstance(key, ScalarNode) else ("", "", "")
    return ("has no blank behind its colon", f"write `{before}: {behind.strip()}`") if colon else None


def _unseen(name: str, text: str, number: int) -> "Line | None":
    """The line about what looks like a blank in that line, and is none; in comments and quotes it does no harm."""
    line = re.split(r"(?:^|\s)#", text.split("\n")[number - 1])[0]
    for place, char in enumerate(re.sub(r"([\"']).*?\1", lambda quoted: " " * len(quoted[0]), line)):
        if char != " " and unicodedata.category(char) in _UNSEEN:
            wrong = f"holds a {unicodedata.name(char).lower()}, which is no blank to YAML"
            return Line(name, number, place + 1, (), wrong, _cut(line), "write a plain blank in its place, or nothing")
    return None


def _is_readable(yaml: YAML, node: ScalarNode) -> bool:
    try:
        yaml.constructor.construct_non_recursive_object(node)
    except (ValueError, KeyError, IndexError):  # as in `!!int x`, or thousands of digits
        return False
    return True


def _unreadable(name: str, text: str, error: Exception) -> Line:
    """The line about text that is not YAML."""
    right = "correct the YAML here or just before"
    if isinstance(error, MaxDepthExceededError):
        at = error.problem_mark
        return Line(name, at.line + 1, at.column + 1, (), _TOO_DEEP, _rest(text, at.index), right)
    if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        wrong = _problem(error)
        right = next((remedy for said, remedy in _REMEDIES.items() if said in wrong), right)
        if error.context_mark and any(said in wrong for said in _BEGINS):
            mark, wrong = error.context_mark, f"{error.problem}"
        for number in (mark.line + 1, mark.line):
            if number and (unseen := _unseen(name, text, number)):
                return unseen
        return Line(name, mark.line + 1, mark.column + 1, (), f"is not YAML: {wrong}", _rest(text, mark.index), right)
    if isinstance(error, ReaderError):
        line, column = _position(text, error.position)
        return Line(name, line, column, (), "is not YAML: a control character", repr(text[error.position]), "remove it")
    wrong = f"is not YAML: {_cut(str(error))}"
    return Line(name, 1, 1, (), wrong, _rest(text, 0), "`git diff params.yaml` shows what changed")


def _problem(error: MarkedYAMLError) -> str:
    """What the parser says, and where the thing began that it was reading."""
    began = f" (from line {error.context_mark.line + 1} on)" if error.context and error.context_mark else ""
    said = f"{error.context}{began}, {error.problem}" if error.context else f"{error.problem}"
    return " ".join(said.split()).replace("'\\x00'", "the end of the file")


def _rest(text: str, index: int) -> str:
    """The line of text from a place on."""
    return _cut(text[index:].split("\n", 1)[0].replace("\0", "")) or "nothing more"


def _position(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _is_empty(node: Node) -> bool:
    return bool(node.start_mark.index == node.end_mark.index)


def _short(given: Any) -> str:
    text = given if isinstance(given, str) and given.strip() else json.dumps(given, default=str)
    return "nothing" if given is None else _cut(text)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "…"


def _told(lines: Iterable[Line]) -> ParamsError:
    ordered = sorted(lines, key=lambda line: (line.line, line.column))
    return ParamsError("\n".join(dict.fromkeys(map(str, ordered))))
