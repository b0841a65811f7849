"""Print constraints.txt: the installed version of everything that is not pinned as a direct requirement."""

import re
from importlib.metadata import distributions
from pathlib import Path

kinds = ("", "-test", "-dask", "-slurm", "-examples", "-timm")
pinned = "".join(Path(f"requirements{kind}.txt").read_text() for kind in kinds)
direct = set(re.findall(r"^([\w.-]+)==", pinned, re.M))
names = {re.sub(r"[-_.]+", "-", name).lower() for name in direct} | {"pip"}
found = {re.sub(r"[-_.]+", "-", d.name).lower(): d.version.partition("+")[0] for d in distributions()}
print("# Everything below the direct requirements, so that next year's install is the same (`make constraints` writes it).")
print("\n".join(f"{name}=={version}" for name, version in sorted(found.items()) if name not in names))
