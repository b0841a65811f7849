"""All registered schedulers as a Markdown table, made from what is registered."""

import inspect
import re
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from pipeline.config.spaces import Range
from pipeline.config.units import is_length, is_rate, marks_of
from pipeline.schedulers.registry import Scheduler, schedulers


def table() -> Iterator[str]:
    """The lines of the table: name, interval, arguments (lengths and rates marked), search space, origin."""
    yield "| scheduler | stepped per | arguments | searched, beside the peak rate | origin |"
    yield "|---|---|---|---|---|"
    for entry in schedulers:
        arguments = ", ".join(_argument(name, field) for name, field in entry.arguments.model_fields.items())
        space = ", ".join(f"`{name}` {_values(values)}" for name, values in entry.search.items())
        yield f"| `{entry.name}` | {entry.interval} | {arguments or '–'} | {space or '–'} | {_origin(entry)} |"


def _argument(name: str, field: FieldInfo) -> str:
    """``name`` with its unit and default, where it has them."""
    unit = " ⟷" if any(map(is_length, marks_of(field))) else " ↕" if any(map(is_rate, marks_of(field))) else ""
    default = field.get_default()
    if field.is_required() or default in (None, []):
        return f"`{name}`{unit}"
    shown = f"{default:.4g}" if isinstance(default, float) else str(default)
    return f"`{name}`{unit} = {shown}"


def _values(values: Range | tuple[object, ...]) -> str:
    if not isinstance(values, Range):
        return ", ".join(map(str, values))
    share = f" of `{values.of}`" if values.of else f" of what `{values.after}` leaves" if values.after else ""
    more = [word for word, said in (("log", values.log), ("over the run", values.over == "run")) if said]
    return f"{values.low} to {values.high}{share}" + (f" ({', '.join(more)})" if more else "")


def _origin(entry: Scheduler) -> str:
    """The torch class or the papers that the docstring names."""
    doc = inspect.getdoc(entry.function) or ""
    if found := re.match(r"``torch\.optim\.(?:lr_scheduler|swa_utils)\.(\w+)``", doc):
        return f"torch's {found[1]}" if found[1] != entry.name else "torch"
    papers = re.findall(r"\(([^()]*?), (?:[A-Za-z]+, )?arXiv:([\d.]+)", doc)
    return "; ".join(f"[{name}](https://arxiv.org/abs/{number})" for name, number in papers) or (doc.splitlines() or ["–"])[0]
