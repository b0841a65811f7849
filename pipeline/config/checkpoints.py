"""Training in progress, kept in a file so that a kill costs little: whole or not there, and nothing in it is run.

Needs torch alone.
"""

import contextlib
import hashlib
import io
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

EVERY = 20.0
"""Seconds of training between two checkpoints at the least."""
SHARE = 0.02
"""Of the time that training takes, what writing checkpoints may take at the most, unless another share is given."""
_log = logging.getLogger(__name__)


class Checkpoint:
    """The file that one training in progress is kept in.

    Its content is what ``torch.load(weights_only=True)`` reads: tensors, numbers, texts and containers of them, never code. A
    file that is damaged, or cannot be written, costs the time it would have saved and nothing else; one warning says so.
    """

    def __init__(self, path: Path, every: float | None = None, share: float | None = None) -> None:
        self.path, self._every, self._share = path, EVERY if every is None else every, share
        self._due = time.monotonic() + self._every

    def load(self) -> dict[str, Any] | None:
        """What was kept last, its tensors on the CPU; None where there is nothing, or nothing that can be used."""
        try:
            checksum, content = self.path.read_bytes().split(b"\n", 1)
            if checksum != _checksum(content):
                raise ValueError("its checksum does not match")
            found: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001  # whatever torch makes of what it finds
            self.refuse(str(error).partition("\n")[0])
            return None
        return found

    @property
    def is_due(self) -> bool:
        """Whether enough was trained since the last one."""
        return time.monotonic() >= self._due

    def save(self, state: Mapping[str, Any], begun: float | None = None) -> None:
        """Replace the file, whole or not at all; what was done for it since ``begun`` is a part of its share of the time."""
        begun = begun or time.monotonic()
        packed = io.BytesIO()
        torch.save(dict(state), packed)
        content = packed.getvalue()
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(_checksum(content) + b"\n")
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            _log.warning(
                "%s cannot be written (%s): what is trained now goes on, and is lost if it is killed", self.path, error
            )
            self._every = float("inf")
        now = time.monotonic()
        self._due = now + max(self._every, (now - begun) / (self._share or SHARE))

    def refuse(self, reason: str) -> None:
        """Say in a line why what was kept is not used."""
        _log.warning("%s is not used: %s; what it was of is trained from its beginning", self.path, reason)


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
