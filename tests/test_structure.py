"""What the house promises: imports point one way, and dvc.yaml declares the rooms that each stage depends on."""

import pytest
from ruamel.yaml import YAML

from pipeline.config.stages import stage_names
from pipeline.engine.code import OF_STAGES, PINS
from scripts.rooms import DRAWING, FLOORS, MODULES, ROOT, closure, drawing, imported, own, room_of, rooms_needed

FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
DATA = {"data/${key}.parquet", "data/${key}.splits.parquet"}
CODE = {f"pipeline/{part}" for part in OF_STAGES} | {"pipeline/custom.py", *map(str, PINS)}
"""What the digest ``code`` names."""


def declared(stage: str) -> dict[str, list[str]]:
    entry = STAGES[stage]
    body: dict[str, list[str]] = entry.get("do", entry)
    return body


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_one_way(module: str) -> None:
    if room := room_of(module):
        floor = FLOOR_OF.get(room, len(FLOORS))  # __main__ stands on top of all
        wrong = {name for name in own(module) if room_of(name) != room and FLOOR_OF[room_of(name)] >= floor}
        assert not wrong, f"{module} imports from its own floor or one above it"


def test_no_module_imports_itself_in_a_circle() -> None:
    for module in MODULES:
        for name in own(module):
            assert module not in closure(name) or module == name, f"{module} and {name} import each other"


def test_stages_never_import_stages() -> None:
    for module in MODULES:
        if module.startswith("pipeline.stages."):
            assert not {name for name in own(module) if name.startswith("pipeline.stages")}


@pytest.mark.parametrize(
    ("package", "home"),
    [
        ("mlflow", ("pipeline.tracking",)),
        ("optuna", ("pipeline.search", "pipeline.tracking.optuna_tracker")),
        ("jinja2", ("pipeline.analysis",)),
    ],
)
def test_packages_stay_in_their_room(package: str, home: tuple[str, ...]) -> None:
    users = {module for module in MODULES if any(name.split(".")[0] == package for name in imported(module))}
    assert users
    assert all(user.startswith(home) for user in users)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_rooms_that_a_stage_depends_on_and_what_earlier_stages_write(stage: str) -> None:
    """Drift: a room that is used and not declared would leave stale results; one too many runs for nothing."""
    made = {
        "check": {"params.yaml"},
        "dataset": {"inputs"},
        "train": DATA,
        "tune": DATA,
        "confirm": DATA | {"results/${key}/tune/best.yaml"},
        "sweep": DATA | {"results/${key}/tune/best.yaml"},
        "report": {"results", "data"},
        "track": {"results", "reports"},
    }
    rooms = {f"pipeline/{room}" for room in rooms_needed(stage) if (ROOT / "pipeline" / room).is_dir()}
    code = CODE if stage == "check" else rooms - CODE
    own = {"pipeline/tracking"} if stage == "track" else code | {f"pipeline/stages/{stage}.py"}  # which writes no results
    assert set(declared(stage)["deps"]) == made[stage] | own
    assert rooms <= CODE | own or stage == "track"


def test_all_stages_but_that_of_the_trackers_depend_on_the_digest_of_the_code() -> None:
    """The report by the folder that it is in."""
    for stage in set(STAGES) - {"check", "report", "track"}:
        (digests,) = (each["data/digests.json"] for each in declared(stage)["params"] if "data/digests.json" in each)  # type: ignore[index]
        assert "code" in digests


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_sorted_and_no_out_persists(stage: str) -> None:
    """DVC's run cache takes no stage with an out that does."""
    deps = declared(stage)["deps"]
    assert deps == sorted(deps)
    for kind in ("outs", "metrics", "plots"):
        for out in declared(stage).get(kind, []):
            assert isinstance(out, str) or all("persist" not in options for options in out.values())


def test_the_names_of_the_stages_are_those_of_dvc_yaml() -> None:
    """In its order, one for each problem where it has one for each."""
    expected = [
        name for stage, body in STAGES.items() for name in ([f"{stage}@p", f"{stage}@q"] if "foreach" in body else [stage])
    ]
    assert stage_names(["p", "q"]) == expected


def test_stages_are_the_modules() -> None:
    modules = {name.rsplit(".", 1)[1] for name in MODULES if name.startswith("pipeline.stages.")}
    assert modules == set(STAGES)


def test_folder_deps_hold_nothing_but_sources() -> None:
    """DVC hashes whole folders: what Python leaves in them must be ignored."""
    assert "__pycache__" in (ROOT / ".dvcignore").read_text(encoding="utf-8").split()


def test_the_drawing_shows_the_rooms_as_they_are() -> None:
    """`python -m scripts.rooms` draws them anew."""
    assert drawing() in DRAWING.read_text(encoding="utf-8")
