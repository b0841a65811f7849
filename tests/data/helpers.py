"""A small table, and what writes it where the pipeline looks for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.datasets import datasets

ROWS = 60


def a_table(rows: int = ROWS, **columns: Any) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    size, colour = draw.normal(50, 9, rows), np.resize(["red", "green", "blue"], rows)
    price = size * 2 + (colour == "red") * 10 + draw.normal(0, 1, rows)
    return pd.DataFrame({"size": size, "colour": colour, "rooms": np.arange(rows) % 4, "price": price, **columns})


def in_days(steps: pd.Series) -> pd.Series:
    return pd.Timestamp("2023-12-05") + pd.to_timedelta(steps, unit="D")


class Written:
    """Writes text or a frame to inputs/NAME and returns the name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "inputs"
        self.folder.mkdir(exist_ok=True)

    def __call__(self, content: str | bytes | pd.DataFrame, name: str = "my.csv") -> str:
        if isinstance(content, pd.DataFrame):
            content = content.to_parquet() if name.endswith(".parquet") else content.to_csv(index=False)
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def dataset(
        self, content: str | bytes | pd.DataFrame, target: str = "y", name: str = "my.csv", **given: Any
    ) -> pd.DataFrame:
        """The dataset of that file, with its arguments checked as those in params.yaml are."""
        entry = datasets["file"]
        data: pd.DataFrame = entry.function(**entry.complete({"path": self(content, name), "target": target, **given}))
        return data
