"""Tables as they are published: the quirks of well-known ones, with values that are drawn."""

import gzip
from typing import Any

import numpy as np
import pandas as pd

Draw = np.random.Generator


def riders(draw: Draw, rows: int = 240) -> bytes:
    """Bike sharing: a row number, dates, and two columns that add up to the target."""
    hours = pd.date_range("2011-01-01", periods=rows, freq="h")
    temp = draw.random(rows).round(2)
    casual, registered = draw.poisson(20 * temp), draw.poisson(60 + 100 * np.isin(hours.hour, [8, 17]))
    columns = {
        "instant": np.arange(rows) + 1,
        "dteday": hours.strftime("%Y-%m-%d"),
        "hr": hours.hour,
        "holiday": 0,
        "temp": temp,
    }
    return csv({**columns, "casual": casual, "registered": registered, "cnt": casual + registered})


def passengers(draw: Draw, rows: int = 240) -> bytes:
    """Titanic: names, tickets, mostly empty cabins, ages that are missing."""
    sex, gone = draw.choice(["male", "female"], rows), draw.random(rows)
    return csv({
        "PassengerId": np.arange(rows) + 1, "Survived": (draw.random(rows) < 0.2 + 0.6 * (sex == "female")).astype(int),
        "Name": [f"Doe, Mr. No{row}" for row in range(rows)], "Sex": sex, "Age": np.where(gone < 0.2, np.nan, 40 * gone),
        "Ticket": [f"{'PC ' * (row % 3 == 0)}{row * 37 + 1000}" for row in range(rows)],
        "Cabin": [f"C{row}" if row % 5 == 0 else None for row in range(rows)], "Fare": draw.gamma(1, 30, rows).round(4),
    })  # fmt: skip


def adults(draw: Draw, rows: int = 240) -> bytes:
    """Census income: no header, a blank behind each comma, question marks, an empty line at the end."""
    work, years = draw.choice(["Private", "?", "State-gov"], rows), draw.integers(1, 17, rows)
    income = np.where(draw.random(rows) < 0.05 + 0.03 * years, ">50K", "<=50K")
    ages, weights = draw.integers(17, 90, rows), 1000 * draw.integers(12, 150, rows)
    rows_of = zip(ages, work, weights, years, income, strict=True)
    return ("\n".join(", ".join(map(str, row)) for row in rows_of) + "\n\n").encode()


def customers(draw: Draw, rows: int = 240) -> bytes:
    """A German export: packed, in Latin-1, with semicolons, decimal commas, points between thousands, days first."""
    swapped = str.maketrans(",.", ".,")
    lines = ["Kundennr;Geburtsdatum;Straße;Umsatz;Kündigung"]
    for row in range(rows):
        born = f"{draw.integers(1, 29):02d}.{draw.integers(1, 13):02d}.{draw.integers(1940, 2004)}"
        spent = f"{draw.gamma(2, 900):,.2f}".translate(swapped)
        lines.append(f"K{row:05d};{born};{draw.choice(['Gartenweg', 'Am Öhr'])};{spent};{'ja' if row % 12 == 0 else 'nein'}")
    return gzip.compress("\r\n".join(lines).encode("latin-1"))


def clicks(draw: Draw, rows: int = 600) -> bytes:
    """Clicks on advertisements: identifiers, many rare categories, and one click in twenty."""
    site = [f"{number:08x}" for number in draw.integers(0, 150, rows)]
    ids = draw.integers(10**17, 10**18, rows)
    return csv(
        {"id": ids, "click": (draw.random(rows) < 0.05).astype(int), "site": site, "banner": draw.choice([0, 1, 7], rows)}
    )


def cars(draw: Draw, rows: int = 240) -> bytes:
    """Auto MPG: columns of a fixed width, a tab before the name, a question mark for a number."""
    lines = [
        f"{draw.uniform(9, 46):.1f}   {draw.choice([4, 6, 8])}   {'?' if row % 40 == 1 else f'{row % 50 + 60}.0':10}"
        f'{draw.uniform(1600, 5100):.0f}.      {70 + row % 10}\t"ford {row % 60}"'
        for row in range(rows)
    ]
    return "\n".join(lines).encode()


def csv(columns: dict[str, Any]) -> bytes:
    return pd.DataFrame(columns).to_csv(index=False).encode()


PUBLISHED: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "riders": ("hour.csv", riders, {
        "target": "cnt", "dates": {"dteday": ["year", "month", "weekday"]}, "drop": ["instant", "casual", "registered"],
    }),
    "passengers": ("titanic.csv", passengers, {
        "target": "Survived", "drop": ["Name", "Ticket", "Cabin", "PassengerId"], "missing": "impute",
    }),
    "adults": ("adult.data.txt", adults, {"target": "y", "read": {"header": None, "names": ["x0", "x1", "x2", "x3", "y"]}}),
    "customers": ("kunden.csv.gz", customers, {
        "target": "Kündigung", "drop": ["Kundennr"], "dates": {"Geburtsdatum": ["year", "month", "weekday"]},
    }),
    "clicks": ("avazu.csv", clicks, {"target": "click", "drop": ["id"]}),
    "cars": ("auto-mpg.txt", cars, {
        "target": "x4", "read": {"header": None, "names": ["x0", "x1", "x2", "x3", "x4", "y"]}, "missing": "impute",
    }),
}  # fmt: skip
"""The name of its file, what writes it, and the entry that `look` proposes, but for the path."""
