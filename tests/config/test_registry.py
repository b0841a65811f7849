"""Names in params.yaml, the functions behind them, and their arguments."""

import functools
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from pipeline.catalogue import CATALOGUE
from pipeline.config import user_code
from pipeline.config.registry import Registered, RegistrationError, Registry, arguments_of, called
from pipeline.config.units import Length, Rate, Scale


def shape(given: object, length: Length, rate: Rate = 0.5, factor: Annotated[float, Field(gt=0)] = 1.0) -> str:
    return f"{given} {length} {rate} {factor}"


def entry(function: Callable[..., Any] = shape, given: Sequence[str] = ("given",)) -> Registered:
    return Registered(function.__name__, function, arguments_of(function, given))


def mistakes(check: Callable[[], object]) -> dict[str, tuple[str, str]]:
    """What is told of each place: (what is wrong, what is right)."""
    with pytest.raises(ValidationError) as raised:
        check()
    return {".".join(map(str, e["loc"])): (e["ctx"]["wrong"], e["ctx"]["right"]) for e in raised.value.errors()}


def test_arguments_are_those_behind_what_the_pipeline_gives() -> None:
    assert list(entry().arguments.model_fields) == ["length", "rate", "factor"]


def test_checked_arguments_stay_as_written() -> None:
    given = {"length": "30%", "rate": "1%"}
    assert entry().check(given) == given


def test_completed_arguments_have_defaults_and_torchs_numbers() -> None:
    given = {"length": "30%", "rate": "10%"}
    assert entry().complete(given) == {**given, "factor": 1.0}
    assert entry().complete(given, Scale(50, 2.0)) == {"length": 15, "rate": 0.2, "factor": 1.0}


def test_every_mistake_is_told_at_once_and_in_words() -> None:
    told = mistakes(lambda: entry().check({"lenght": 3, "rate": -1, "factor": "10%"}))
    assert set(told) == {"length", "lenght", "rate", "factor"}
    assert told["length"] == ("is missing", "add `length:`")
    assert told["lenght"] == ("is not known here", "did you mean length? (one of length, rate, factor)")
    assert told["factor"][0] == "is neither a length nor a rate, so it has no percentage"


def test_a_function_without_arguments_allows_none() -> None:
    def plain(given: object) -> None: ...

    assert mistakes(lambda: entry(plain).check({"x": 1}))["x"][1] == "remove it; nothing is allowed here"


def test_branches_of_a_union_are_not_told() -> None:
    def union(given: object, x: int | bool | list[int], y: int | Length) -> None: ...

    assert set(mistakes(lambda: entry(union).check({"x": "a", "y": "b"}))) == {"x", "y"}
    assert set(mistakes(lambda: entry(union).check({"x": [1, "a"], "y": 1}))) == {"x", "x.1"}


def test_a_users_own_checks_are_told_in_their_words() -> None:
    def refuse(value: int) -> int:
        if value == 1:
            raise ValueError("One is not enough")
        raise PydanticCustomError("my_own", "Two is too many")

    def custom(given: object, x: Annotated[int, AfterValidator(refuse)]) -> None: ...

    assert mistakes(lambda: entry(custom).check({"x": 1}))["x"][0] == "one is not enough"
    assert mistakes(lambda: entry(custom).check({"x": 2}))["x"][0] == "two is too many"


def test_an_argument_must_be_annotated() -> None:
    def bare(given: object, x) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(RegistrationError, match="bare: the argument x needs a name and an annotation"):
        entry(bare)


def test_an_argument_must_have_a_name() -> None:
    def loose(given: object, **x: int) -> None: ...

    with pytest.raises(RegistrationError, match="loose: the argument x needs a name"):
        entry(loose)


class OfDefaults:
    def __init__(  # type: ignore[no-untyped-def]
        self,
        given,
        lr=1e-3,
        betas=(0.9, 0.99),
        width=8,
        fused=False,
        name="a",
        size: int = None,  # type: ignore[assignment]  # noqa: RUF013
        foreach: bool | None = None,
    ) -> None:
        self.betas, self.size = betas, size


def test_a_class_and_the_kinds_of_its_defaults() -> None:
    """As optimizers and models by others are written: without annotations, or with a None that they do not name."""
    arguments = arguments_of(OfDefaults, given=["params"])
    every = {"lr": 0.1, "betas": [0.5, 0.6], "width": 3, "fused": True, "name": "b", "size": 2, "foreach": None}
    each = Registered("x", called(OfDefaults), arguments)
    assert each.complete(every) == every
    assert each.complete({})["betas"] == [0.9, 0.99]
    assert set(mistakes(lambda: each.check({"lr": "a", "betas": 1, "width": 1.5, "fused": 1}))) == {
        "lr",
        "betas",
        "width",
        "fused",
    }
    assert each.function(None, **each.complete({})).betas == (0.9, 0.99)
    assert each.function(None, **each.complete({"betas": [0.1]})).betas == (0.1,)


def test_tuples_are_lists_in_yaml_and_tuples_where_they_are_used() -> None:
    def of_tuples(x: tuple[int, float], y: tuple[int, ...] = (1, 2), z: tuple[bool, bool] | None = None) -> object:
        return x, y, z

    each = Registered("x", called(of_tuples), arguments_of(of_tuples, given=()))
    assert each.function(**each.complete({"x": [1, 2.5]})) == ((1, 2.5), (1, 2), None)
    assert each.function(**each.complete({"x": [1, 2], "y": [], "z": [True, False]})) == ((1, 2), (), (True, False))
    assert set(mistakes(lambda: each.check({"x": [1, 2, 3], "z": [True]}))) == {"x", "z"}


def test_annotations_that_are_texts() -> None:
    """Those of what the pipeline gives need not be there."""

    def late(given: "NoSuchName", x: "int" = 1) -> "NoSuchName":  # type: ignore[name-defined]  # noqa: F821
        return given

    assert arguments_of(late, given=["given"]).model_fields["x"].annotation is int


def test_what_torchs_own_classes_keep_to_themselves() -> None:
    class Net:
        def __init__(self, inputs: int, outputs: int, bias: bool = True, device=None, dtype=None) -> None: ...  # type: ignore[no-untyped-def]

    assert list(arguments_of(Net, given=["inputs", "outputs"]).model_fields) == ["bias"]
    assert list(arguments_of(functools.partial(shape, 1), given=()).model_fields) == ["length", "rate", "factor"]


def test_a_name_is_registered_once() -> None:
    registry: Registry[Registered] = Registry("shape")
    registry.add(entry())
    with pytest.raises(RegistrationError, match="shape 'shape' is registered twice"):
        registry.add(entry())
    assert [found.name for found in registry] == ["shape"]


@pytest.mark.parametrize("name", ["nothing", "", None, 3, ["SGD"], {"SGD": 1}])
def test_an_unknown_name_is_refused(name: object) -> None:
    with pytest.raises(PydanticCustomError) as raised:
        CATALOGUE.optimizers.find(name)
    assert (raised.value.context or {})["wrong"] == "is not a registered optimizer"


@pytest.mark.parametrize(("given", "meant"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_the_nearest_name_is_offered(given: str, meant: str) -> None:
    with pytest.raises(PydanticCustomError) as raised:
        CATALOGUE.optimizers.find(given)
    every = ", ".join(each.name for each in CATALOGUE.optimizers)
    assert (raised.value.context or {})["right"] == f"did you mean {meant}? (one of {every})"


KINDS: list[Registry[Any]] = [CATALOGUE.datasets, CATALOGUE.models, CATALOGUE.optimizers, CATALOGUE.schedulers]
EVERY = [pytest.param(each, id=each.name) for kind in KINDS for each in kind]


@pytest.mark.parametrize("each", EVERY)
def test_every_default_fits_its_own_annotation_and_json(each: Registered) -> None:
    defaults = {name: field.get_default() for name, field in each.arguments.model_fields.items() if not field.is_required()}
    checked = each.arguments.model_construct(**defaults)
    assert json.loads(json.dumps(checked.model_dump())) == defaults
    told = mistakes(lambda: each.check({**defaults, "no such": 1}))
    assert {path for path in told if path in defaults} == set()


@pytest.mark.parametrize("each", EVERY)
@pytest.mark.parametrize("value", [float("nan"), {}, [[]], 10**400, -1e300, "\0", ...], ids=repr)
def test_no_value_of_any_argument_escapes_the_wording(each: Registered, value: object) -> None:
    for name in each.arguments.model_fields:
        told = mistakes(lambda name=name: each.check({name: value, "no such": 1}))  # type: ignore[misc]
        assert name in {path.split(".", 1)[0] for path in told}
        assert not [right for _, right in told.values() if "docs/params.md" in right]


@pytest.mark.parametrize(
    ("kind", "given", "right"),
    [
        ("metrics", "F1", "did you mean F1Score?"),
        ("metrics", "roc-auc", "did you mean AUROC?"),
        ("metrics", "RMSE", "write {name: MeanSquaredError, squared: false}"),
        ("losses", "bce", "did you mean BCEWithLogitsLoss?"),
        ("losses", "NLLLoss", "did you mean CrossEntropyLoss?"),
        ("losses", "CTCLoss", "it is not built in; register one of your own in pipeline/custom.py: docs/own-code.md"),
        ("models", "ResNet18", ", or register one of your own in pipeline/custom.py: docs/own-code.md"),
        ("optimizers", "Lion", ", or register one of your own in pipeline/custom.py: docs/own-code.md"),
    ],
)
def test_a_name_from_elsewhere_is_told_what_stands_for_it(kind: str, given: str, right: str) -> None:
    with pytest.raises(PydanticCustomError) as raised:
        getattr(CATALOGUE, kind).find(given)
    assert (raised.value.context or {})["right"].endswith(right)


@pytest.mark.parametrize("kind", ["losses", "metrics"])
def test_every_name_that_is_offered_is_there(kind: str) -> None:
    registry = getattr(CATALOGUE, kind)
    offered = [hint.removeprefix("did you mean ").removesuffix("?") for hint in registry.hints.values() if "did you" in hint]
    assert offered
    assert {*offered} <= {entry.name for entry in registry}


def test_what_is_defined_and_not_registered_is_told_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "my_models.py"
    file.write_text("\n\nclass Unregistered:\n    pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(user_code, "imported", [importlib.import_module("my_models")])
    with pytest.raises(PydanticCustomError) as raised:
        CATALOGUE.models.find("Unregistered")
    del sys.modules["my_models"]
    told = raised.value.context or {}
    assert told["wrong"] == "is not a registered model"
    assert told["right"] == f"{file}:3 defines it; docs/own-code.md says how to register it"
