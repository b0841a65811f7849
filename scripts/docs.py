"""What of the documentation is generated: ``python -m scripts.docs`` writes it anew between its marks.

``<!-- NAME ARGUMENT -->`` begins such a part of a page under docs/ and ``<!-- /NAME -->`` ends it:

- ``params``: every key of params.yaml, from the types that read it;
- ``commands``: those of ``make`` and of ``python -m pipeline``, from the Makefile and the package;
- ``registered KIND``: what can be named there, from the registries;
- ``measured SECTION``: a section of benchmarks/RESULTS.md, as its command printed it;
- ``study``: the default study's figures, from reports/comparison.csv; as they are where `dvc repro` has not written that yet.

docs/schedulers.md is written by ``python -m tests.schedulers.known``, the drawing in docs/architecture.md by
``python -m scripts.rooms``.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pandas as pd
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.__main__ import COMMANDS
from pipeline.catalogue import CATALOGUE
from pipeline.config import params
from pipeline.config.components import ComponentOf
from pipeline.config.problem_params import ProblemParams, ReportedMetric, Script
from pipeline.config.registry import Registered, Registry
from pipeline.config.schedules import Schedule
from pipeline.config.spaces import EndUnit, Range
from pipeline.config.units import ShareUnit, is_length, is_rate
from pipeline.config.wording import raised

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks/RESULTS.md"
COMPARISON = ROOT / "reports/comparison.csv"
PART = re.compile(r"<!-- (params|commands|registered|measured|study)(?: ([^>]*?))? -->\n(.*?)<!-- /\1 -->", re.DOTALL)
SAID: dict[tuple[type[BaseModel], str], str] = {(Schedule, "name"): "the label", (ProblemParams, "resample"): "`true`"}
"""What holds where a key is left out, and the type does not say it."""
VARIANTS = {"default": "as written", "tuned": "tuned", "recommended": "recommended"}


def main() -> None:
    """Write every generated part anew."""
    for page in DOCS.glob("*.md"):
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")


def written(text: str) -> str:
    """The page with its generated parts as they are now."""
    return PART.sub(_part, text)


def _part(found: re.Match[str]) -> str:
    name, argument = found[1], found[2]
    makers: dict[str, Callable[[], str]] = {
        "params": reference,
        "commands": commands,
        "registered": lambda: registered(argument),
        "measured": lambda: measured(argument),
        "study": lambda: study() if COMPARISON.exists() else found[3],
    }
    begins = " ".join(filter(None, (name, argument)))
    return f"<!-- {begins} -->\n{makers[name]().strip()}\n<!-- /{name} -->"


def commands() -> str:
    """Every command in a line."""
    begins = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\n.")[0]
    targets = re.findall(r"make ([\w-]+)\s+(.*?)(?=\s{2,}make |$)", begins, re.MULTILINE)
    found = {f"make {name}": told for name, told in targets} | {f"python -m pipeline {n}": told for n, told in COMMANDS.items()}
    return "\n".join(["| command | what it does |", "|---|---|", *(_row(f"`{name}`", told) for name, told in found.items())])


# params.yaml


def sections(model: type[BaseModel] = params.Params, place: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every type of params.yaml with the place where it stands, each once: a scheduler's is that of all schedulers."""
    yield place or "The whole file", model
    for name, field in model.model_fields.items():
        for kind in _models_in(field.annotation):
            if kind is not Schedule or not place:
                yield from sections(kind, f"{place}.{LABELLED.get(kind, name)}".lstrip("."))
            if kind is ProblemParams:
                yield "problems.NAME.script", Script
                yield "problems.NAME.metric, of a script", ReportedMetric


LABELLED: dict[type[BaseModel], str] = {
    ProblemParams: "problems.NAME",
    Schedule: "schedulers.NAME",
    Range: "search.NAME",
}
"""What stands under a name of the user's own."""


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def reference() -> str:
    """A table for each type: key, what it takes, its default, what it means."""
    lines: list[str] = []
    for heading, model in sections():
        told, *_ = (inspect.getdoc(model) or "").replace("``", "`").split("\n\n")
        lines += ["", f"### {heading}", "", told, "", "| key | takes | left out | meaning |", "|---|---|---|---|"]
        meanings = meanings_of(model)
        lines += [
            _row(f"`{n}`", taken(f), SAID.get((model, n)) or left_out(f), meanings[n]) for n, f in model.model_fields.items()
        ]
    return "\n".join(lines)


def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """Field → the text that stands below it in the source, also in the types it is built on."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef))
            for field, below in pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                    text = str(ast.literal_eval(below.value)).replace("``", "`")
                    found[field.target.id] = " ".join(inspect.cleandoc(text).split())
    if missing := model.model_fields.keys() - found:
        raise LookupError(f"{model.__name__}: no text below {', '.join(missing)} says what it means")
    return found


def taken(field: FieldInfo) -> str:
    """What a user may write for it."""
    words = _kind(field.annotation, tuple(field.metadata))
    bounds = {
        sign: getattr(mark, name)
        for mark in field.metadata
        for name, sign in (("ge", "from"), ("gt", "above"), ("le", "to"), ("lt", "below"))
        if hasattr(mark, name)
    }
    return " ".join([words, *(f"{sign} {bound:,.10g}" for sign, bound in bounds.items())])


PLAIN = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text", type(None): "`null`", Any: "anything"}


def _kind(annotation: Any, marks: tuple[Any, ...] = ()) -> str:  # noqa: C901  # one case for each kind of annotation
    """An annotation in words, by its marks where they say more."""
    origin, inner = get_origin(annotation), [part for part in get_args(annotation) if part is not type(None)]
    for mark in marks:
        if isinstance(mark, ComponentOf):
            return f"`{{name: …}}`, one of the [{mark.kind}](#{mark.kind})"
        if is_length(mark):
            return "length"
        if is_rate(mark):
            return "rate"
        if isinstance(mark, ShareUnit):
            return "percentage"
        if isinstance(mark, EndUnit):
            return "number or percentage"
    if origin is Annotated:
        return _kind(inner[0], tuple(inner[1:]))
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin is dict:
        values = next((words for kind, words in LABELLED.items() if kind in _models_in(inner[1])), None)
        return f"`NAME: {{key: value, …}}`, …, see `{values}`" if values else "`NAME: value`, …"
    if origin is list:
        return f"list of {_kind(inner[0])}s"
    if inner:
        return " or ".join(dict.fromkeys(_kind(part) for part in inner))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "`{key: value, …}`, see below"
    return PLAIN.get(annotation, "text")


def left_out(field: FieldInfo) -> str:
    """What holds where it is not written."""
    if field.is_required():
        return "**needed**"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return "as below"
    if default in (None, {}, []):
        return "–"
    shown = ", ".join(map(str, default)) if isinstance(default, list) else str(default)
    return f"`{shown.lower() if isinstance(default, bool) else shown}`"


def registered(kind: str) -> str:
    """Every name of that kind with its arguments and their defaults."""
    registry: Registry[Registered] = getattr(CATALOGUE, kind)
    lines = ["| name | arguments | what it is |", "|---|---|---|"]
    for entry in registry:
        arguments = ", ".join(_argument(n, f) for n, f in entry.arguments.model_fields.items()) or "–"
        told = (inspect.getdoc(entry.function) or "–").splitlines()[0].replace("``", "`")
        lines.append(_row(f"`{entry.name}`", arguments, told))
    return "\n".join(lines)


def _argument(name: str, field: FieldInfo) -> str:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    shown = str(default).lower() if isinstance(default, bool) else default
    return f"`{name}`" if default in (None, [], {}) else f"`{name}: {shown}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


# What was measured


def measured(section: str) -> str:
    """A section of benchmarks/RESULTS.md without its heading."""
    found = re.search(
        rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", RESULTS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise LookupError(f"{RESULTS} has no section {section!r}")
    return found[1].strip()


def study() -> str:
    """A table for each problem: what each scheduler comes to as written, tuned, and as it is recommended."""
    comparison = pd.read_csv(COMPARISON)
    return "\n\n".join("\n".join(_table(str(name), own)) for name, own in comparison.groupby("problem", sort=False))


def _table(problem: str, own: pd.DataFrame) -> Iterator[str]:
    yield f"### {problem}\n"
    yield f"| scheduler | {' | '.join(VARIANTS.values())} | loses at most | may be the best |"
    yield "|---|---|---|---|---|---|"
    for label, rows in own.groupby("scheduler", sort=False):
        by = {str(row["variant"]): row for _, row in rows.iterrows()}
        last = by.get("recommended", pd.Series(dtype=object))
        bound = f"{raised(last['regret_bound']):.1%}" if pd.notna(last.get("regret_bound")) else "–"
        best = {"True": "yes", "False": "no"}.get(str(last.get("in_set")), "–")
        yield _row(f"`{label}`", *(_figure(by.get(variant)) for variant in VARIANTS), bound, best)


def _figure(row: pd.Series | None) -> str:
    """A loss, in brackets its difference to the baseline with half of its interval, and the verdict."""
    if row is None:
        return "–"
    if pd.isna(row["difference"]):
        return f"{row['validation_loss']:.4f}"
    half = (row["difference_high"] - row["difference_low"]) / 2
    return f"{row['validation_loss']:.4f} ({row['difference']:+.4f} ± {half:.4f}, {row['verdict']})"


if __name__ == "__main__":
    main()
