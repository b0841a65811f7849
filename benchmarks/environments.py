"""Virtual environments for the other sides of benchmarks, which the pipeline itself does not need."""

import subprocess
import sys
from pathlib import Path

from benchmarks.defaults import ROOT
from pipeline.config import files

HERE = Path(__file__).parent


def installed(name: str) -> Path | None:
    """The Python that has ``requirements-NAME.txt``, in ``.state/NAME-venv``; None where it cannot be installed."""
    folder = ROOT / files.STATE / f"{name}-venv"
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            print(f"installing {name} in {folder}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        # Asks no server where all is there as pinned.
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", str(HERE / f"requirements-{name}.txt")], check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"without {name}: {error}", file=sys.stderr)
        return None
    return python
