"""What a user may say of a table beside its path: how it is written, which column is what, and how cells are to be taken."""

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from pipeline.config.registry import STRICT
from pipeline.config.wording import mistake, reworded, such_that
from pipeline.data.dates import DatePart
from pipeline.data.mistakes import with_entries
from pipeline.problems.encoding import Transform

Task = Literal["auto", "classification", "regression"]
Missing = Literal["error", "impute", "indicate"]
Inputs = Literal["auto", "numbers", "tokens"]
Unlabelled = Literal["error", "drop"]
WHITESPACE = r"\s+"


@dataclass(frozen=True)
class Options:
    """The arguments of the dataset ``file`` that are about the table itself; docs/data.md explains them."""

    target: str
    """The column to be predicted, the first of several."""
    more_targets: Sequence[str] = ()
    transform: Transform | None = None
    weight: str | None = None
    task: Task = "auto"
    unlabelled: Unlabelled = "error"
    positive: str | float | None = None
    features: Sequence[str] | None = None
    drop: Sequence[str] = ()
    categorical: Sequence[str] = ()
    numeric: Sequence[str] = ()
    most_categories: int = 100
    dates: Mapping[str, Sequence[DatePart]] = field(default_factory=dict)
    missing: Missing = "error"
    missing_values: Sequence[str | float] = ()
    read: Mapping[str, Any] = field(default_factory=dict)
    """What is given of ``read``."""
    split: str | None = None
    shares: Sequence[float] = (0.6, 0.2, 0.2)
    group: str | None = None
    order: str | None = None
    seed: int = 0
    decimal: str = "."
    """The decimal mark of the file's cells, given or recognised."""

    @property
    def dayfirst(self) -> bool | None:
        """Whether dates begin with the day, where that is said."""
        return self.read.get("dayfirst")

    @property
    def by_day(self) -> str:
        """The remedy where that has to be said."""
        return f"{with_entries('read', self.read, dayfirst=True)}, or false where the month comes first"

    @property
    def targets(self) -> list[str]:
        """All columns to be predicted."""
        return [self.target, *self.more_targets]

    @property
    def beside(self) -> dict[str, list[str]]:
        """The columns that are no features, by what they are."""
        named = {"weight": self.weight, "split": self.split, "group": self.group, "order": self.order}
        return {"target": self.targets, **{key: [name] for key, name in named.items() if name is not None}}

    @property
    def taken(self) -> list[str]:
        """The same, in a row."""
        return [name for names in self.beside.values() for name in names]


def _is_delimiter(sep: str) -> str:
    sep = "\t" if sep == r"\t" else sep
    if len(sep) != 1 and sep != WHITESPACE:
        raise mistake("is no delimiter", r'write one character in quotes, such as ";" or "\t", or \s+ for any blanks')
    return sep


def _is_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise mistake("is no encoding that Python knows", "write utf-8, cp1252, latin-1, utf-16 or another one") from None
    return name


Character = Annotated[str, such_that(lambda mark: len(mark) == 1, "is not one character", "write one in quotes")]
_ROW = ("is no row", "write 0 for the first one, or null where there is no header")
Header = Annotated[Any, such_that(lambda row: row in (None, "infer") or (type(row) is int and row >= 0), *_ROW)]


class Reading(BaseModel):
    """``read``: how a text file is written, in pandas' words; what is left out is recognised."""

    model_config = STRICT

    sep: Annotated[str, AfterValidator(_is_delimiter)] | None = None
    decimal: Literal[".", ","] | None = None
    thousands: Character | None = None
    header: Header = "infer"
    """The row of the header, from 0; null where there is none."""
    names: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None
    index_col: Literal[0] | None = Field(default=None, exclude_if=lambda given: given is None)  # what is dumped names data
    """0 where rows begin with names of their own, and the header says nothing above these, as R does: the column ``row``."""
    encoding: Annotated[str, AfterValidator(_is_encoding)] | None = None
    skiprows: Annotated[int, Field(ge=0)] = 0
    """Lines at the beginning that are left out."""
    comment: Character | None = None
    quotechar: Character = '"'
    dayfirst: bool | None = None
    """Whether 3/4/2024 is the 3rd of April."""

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, given: Any, handler: ModelWrapValidatorHandler["Reading"]) -> "Reading":
        try:
            return handler(given)
        except ValidationError as error:
            raise reworded(error, given, cls.model_fields) from None

    @property
    def given(self) -> dict[str, Any]:
        """What was not left out."""
        return {name: value for name, value in self if value != type(self).model_fields[name].default}
