"""What the house promises: imports point one way, and dvc.yaml declares exactly what each stage depends on."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from scripts.stage_deps import MODULES, closure, imported, inside, needed, own

ROOT = Path(__file__).parents[1]
# From the bottom up. A module imports from its own layer or from those before it.
LAYERS = (
    ("errors", "follower", "cache", "hands"),
    ("wording", "units", "callables", "document", "compiler", "ranges", "sources"),
    ("registry",),
    ("spaces",),
    ("params",),
    ("runs",),
    ("results", "progress", "stores", "store"),
    ("schedulers",),
    ("problems", "custom"),
    ("engine", "own", "catalogue", "champion", "cli"),
    ("obtain",),
    ("analysis", "search", "tracking"),
    ("record", "sweeps"),
    ("stages",),
)
ROOMS = {"analysis", "search", "tracking"}
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
ALWAYS = {"requirements.txt", "constraints.txt"}


def declared(stage: str) -> dict[str, list[str]]:
    entry = STAGES[stage]
    body: dict[str, list[str]] = entry.get("do", entry)
    return body


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_one_way(module: str) -> None:
    def layer(name: str) -> int:
        if name.endswith(".__main__"):  # a command, like a stage
            return LAYER_OF["stages"]
        return LAYER_OF[name.split(".")[1]] if "." in name else 0

    upwards = {name for name in own(module) if layer(name) > layer(module)}
    assert not upwards, f"{module} imports from a layer above it"


def test_no_module_imports_itself_in_a_circle() -> None:
    for module in MODULES:
        for name in own(module):
            assert module not in closure(name) or module == name, f"{module} and {name} import each other"


def test_stages_never_import_stages() -> None:
    for module in MODULES:
        if module.startswith("pipeline.stages."):
            assert not {name for name in own(module) if name.startswith("pipeline.stages")}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_rooms_on_one_floor_do_not_know_each_other(room: str) -> None:
    users = {module for module in MODULES if module.split(".")[1:2] == [room]}
    assert users
    for module in users:
        assert not {name for name in own(module) if name.split(".")[1] in ROOMS - {room}}


@pytest.mark.parametrize(
    ("package", "home"), [("mlflow", "pipeline.tracking"), ("optuna", "pipeline.search"), ("jinja2", "pipeline.analysis")]
)
def test_packages_stay_in_their_room(package: str, home: str) -> None:
    users = {module for module in MODULES if any(name.split(".")[0] == package for name in imported(module))}
    assert users
    assert all(user.startswith(home) for user in users)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_files_a_stage_runs_on(stage: str) -> None:
    """Drift: a file that is used and not declared would leave stale results; one too many trains for nothing."""
    code = [dep for dep in declared(stage)["deps"] if dep.startswith("pipeline")]
    assert {path for dep in code for path in inside(ROOT / dep)} == needed(stage)


def test_a_stage_runs_on_more_than_the_modules_it_imports() -> None:
    found = {path.relative_to(ROOT / "pipeline").as_posix() for path in needed("train")}
    assert "engine/lanes/lanes.c" in found
    assert "search/__init__.py" not in found
    assert "analysis/templates/report.html.j2" not in found
    assert "search/__init__.py" in {path.relative_to(ROOT / "pipeline").as_posix() for path in needed("tune")}
    found = {path.relative_to(ROOT / "pipeline").as_posix() for path in needed("report")}
    assert {"analysis/templates/report.html.j2", "analysis/figures/__init__.py"} <= found


@pytest.mark.parametrize("stage", STAGES)
def test_deps_hold_the_pinned_requirements_and_what_earlier_stages_write(stage: str) -> None:
    other = {dep for dep in declared(stage)["deps"] if not dep.startswith("pipeline")}
    inputs = {
        "check": {"params.yaml"},
        "dataset": {"inputs"},
        "train": {"data/${key}.parquet"},
        "tune": {"data/${key}.parquet"},
        "sweep": {"data/${key}.parquet", "results/${key}/tune/best.yaml"},
        "report": {"results", "data"},
    }
    assert other == ALWAYS | inputs[stage]


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_sorted_and_no_out_persists(stage: str) -> None:
    """DVC's run cache takes no stage with an out that does."""
    deps = declared(stage)["deps"]
    assert deps == sorted(deps)
    for kind in ("outs", "metrics", "plots"):
        for out in declared(stage).get(kind, []):
            assert isinstance(out, str) or all("persist" not in options for options in out.values())


def test_stages_are_the_modules() -> None:
    modules = {name.rsplit(".", 1)[1] for name in MODULES if name.startswith("pipeline.stages.")}
    assert modules == set(STAGES)


def test_folder_deps_hold_nothing_but_sources() -> None:
    """DVC hashes whole folders: what Python leaves in them must be ignored."""
    assert "__pycache__" in (ROOT / ".dvcignore").read_text(encoding="utf-8").split()
