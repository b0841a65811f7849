"""The repository and its params.yaml, for scripts that must not import what they measure."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]


def default_params() -> dict[str, Any]:
    """The repository's params.yaml as plain mappings."""
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return loaded
