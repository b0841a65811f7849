"""Names for what things follow from, and seeds for what is drawn."""

import hashlib
import json
from typing import Any


def fingerprint(*parts: object) -> str:
    """A short name for everything in ``parts`` (JSON-able)."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stream(name: str, *of: object) -> int:
    """A seed for the random stream ``name`` of the objects ``of``: the same for the same names, whatever else is drawn."""
    text = json.dumps([name, *map(str, of)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def as_json(value: Any) -> str:
    """Canonical JSON for a column."""
    return json.dumps(value, sort_keys=True)
