"""What a wheel of the package holds: every module and every file that they read."""

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

from tests.conftest import ROOT

BUILD = "from setuptools import build_meta; build_meta.build_wheel('.')"
SOURCES = {
    str(path.relative_to(ROOT))
    for path in (ROOT / "pipeline").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}  # fmt: skip


def test_the_wheel_holds_the_package_and_its_pins(tmp_path: Path) -> None:
    """Of a clone that has been used: folders of results and tests lie beside the package."""
    clone = tmp_path / "clone"
    for folder in ("data", "results", "reports", "tests", "benchmarks"):
        (clone / folder).mkdir(parents=True)
        (clone / folder / "__init__.py").touch()
    shutil.copytree(ROOT / "pipeline", clone / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    command = [sys.executable, "-W", "ignore", "-c", BUILD]  # of setuptools' own
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = clone.glob("which_scheduler-*.whl")
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        (metadata,) = (name for name in names if name.endswith("METADATA"))
        said = content.read(metadata).decode()
    assert {name for name in names if ".dist-info/" not in name} == SOURCES
    assert f"Requires-Dist: torch=={version('torch').partition('+')[0]}" in said
    assert "constraints" not in said.partition("\n\n")[0]
