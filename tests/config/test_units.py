"""Relative values: percentages of lengths and rates."""

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pipeline.config.units import Length, LengthOrZero, OptionalLength, PositiveRate, Rate, Scale, percent, rate_at, steps_of

HUNDREDTHS = st.integers(0, 100_000_000)
STEPS = st.integers(1, 10_000_000)
RATES = st.floats(1e-12, 1e9)


def resolved(unit: Any, value: object, *, steps: int = 100, lr: float = 1.0) -> Any:
    return TypeAdapter(unit).validate_python(value, context=Scale(steps, lr))


@given(HUNDREDTHS)
def test_a_percentage_is_read_exactly(hundredths: int) -> None:
    text = f"{hundredths // 100}.{hundredths % 100:02}%"
    assert percent(text) == Fraction(hundredths, 100)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("30%", Fraction(30)),
        (" 2.5 % ", Fraction(5, 2)),
        ("1e3%", Fraction(1000)),
        ("1e-1%", Fraction(1, 10)),
        ("7.%", Fraction(7)),
        ("1000000%", Fraction(10**6)),
    ],
)
def test_spellings_of_a_percentage(text: str, number: Fraction) -> None:
    assert percent(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "%", "30", "-5%", "+5%", "nan%", "inf%", "1e400%", "1000001%", "3 0%", "30%%", "1_0%", "٣%", "9" * 5000 + "%", "0x1%"],
)
def test_what_is_no_percentage(text: str) -> None:
    assert percent(text) is None


@given(HUNDREDTHS, STEPS)
def test_a_length_is_rounded_half_up(hundredths: int, steps: int) -> None:
    exact = Decimal(hundredths) * steps / 10_000
    rounded = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    assert steps_of(Fraction(hundredths, 100), steps, 0) == rounded
    assert steps_of(Fraction(hundredths, 100), steps, 1) == max(1, rounded)


def test_halves_go_up() -> None:
    assert [steps_of(Fraction(share), 10, 0) for share in (5, 15, 25, 35)] == [1, 2, 3, 4]


@given(st.lists(HUNDREDTHS, min_size=2), STEPS)
def test_a_larger_share_is_no_shorter(shares: list[int], steps: int) -> None:
    lengths = [steps_of(Fraction(share, 100), steps, 1) for share in sorted(shares)]
    assert all(a <= b for a, b in pairwise(lengths))


@given(STEPS)
def test_all_of_a_run_is_the_run(steps: int) -> None:
    assert resolved(Length, "100%", steps=steps) == steps


@given(RATES)
def test_all_of_a_rate_is_the_rate(lr: float) -> None:
    assert resolved(Rate, "100%", lr=lr) == lr


@given(HUNDREDTHS, RATES)
def test_a_rate_is_its_share_to_rounding(hundredths: int, lr: float) -> None:
    exact = Fraction(hundredths, 10_000) * Fraction(lr)
    assert rate_at(Fraction(hundredths, 100), lr) == pytest.approx(float(exact), rel=4e-16, abs=0)


def test_a_rate_reads_as_the_decimal_number_would() -> None:
    assert rate_at(Fraction(1), 1.0) == 0.01
    assert rate_at(Fraction(30), 1.0) == 0.3


@given(st.integers(1, 10**9), st.floats(1e-12, 1e9))
def test_plain_numbers_keep_their_meaning_whatever_the_scale(length: int, rate: float) -> None:
    assert resolved(Length, length, steps=7) == length
    assert resolved(Rate, rate, lr=0.5) == rate


@pytest.mark.parametrize("value", ["30%", 5])
def test_without_a_scale_a_value_stays_as_written(value: object) -> None:
    assert TypeAdapter(Length).validate_python(value) == value
    assert TypeAdapter(Rate).validate_python(value) == value


def test_the_least_length() -> None:
    assert resolved(Length, "0.001%") == 1
    assert resolved(LengthOrZero, "0.001%") == 0
    assert resolved(LengthOrZero, 0) == 0
    assert resolved(OptionalLength, None) is None


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        (Length, 0),
        (Length, -1),
        (Length, 1.0),
        (Length, True),
        (Length, None),
        (Length, "30"),
        (Length, "-5%"),
        (Length, 10**10),
        (Length, [1]),
        (LengthOrZero, -1),
        (LengthOrZero, None),
        (OptionalLength, 0),
        (Rate, -0.1),
        (Rate, float("nan")),
        (Rate, float("inf")),
        (Rate, True),
        (Rate, "1"),
        (Rate, None),
        (Rate, 1e10),
        (Rate, 10**400),
        (PositiveRate, 0),
        (PositiveRate, "0%"),
        (PositiveRate, "-1%"),
    ],
)
@pytest.mark.parametrize("scale", [None, Scale(100, 1.0)])
def test_what_is_neither_length_nor_rate(unit: Any, value: object, scale: Scale | None) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(unit).validate_python(value, context=scale)
