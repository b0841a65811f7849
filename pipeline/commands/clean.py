"""``python -m pipeline clean``: what nobody needs any more goes, and a few lines say first what that is and how large.

What goes is found by listing folders, never put together from names: no name leads out of the repository. Links are taken away
and never followed.
"""

import argparse
import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.catalogue import CATALOGUE
from pipeline.cli import UsageError, only_one
from pipeline.commands import Arguments, arguments
from pipeline.config.errors import PipelineError
from pipeline.config.files import DATA, REPORTS, RESULTS, STATE, store_root
from pipeline.config.params import PARAMS_FILE, RESERVED, load_params
from pipeline.config.wording import in_bytes
from pipeline.engine import cache
from pipeline.runs.store import UNASKED, store
from pipeline.runs.unfinished import UNTOUCHED, last_written

BROKEN = re.compile(r".+\.broken\d*([-.]\w+)*")
"""What ``locks.set_aside`` makes of a file, with what SQLite has beside it."""
UNFINISHED = re.compile(r"\..+\.tmp")
"""What ``files.write_files`` writes before it renames it."""


@dataclass(frozen=True)
class Scope:
    """What to clean: ``problems`` are those that stay."""

    problems: Collection[str]
    whole_store: bool = False
    whole_cache: bool = False


@dataclass(frozen=True)
class Waste:
    """Something that goes: what it is, in bytes how much, and how it goes."""

    what: str
    size: int
    remove: Callable[[], object]


def main(words: Sequence[str]) -> None:
    """Say what goes, and take it away."""
    asked = _parser().parse_args(words)
    if not PARAMS_FILE.exists():
        raise UsageError("there is no params.yaml here; run in the repository's root")
    problems = () if asked.all else tuple(load_params(CATALOGUE).problems)
    scope = Scope(problems, whole_store=asked.all, whole_cache=asked.cache)
    if asked.dry_run:
        _tell(_found(scope), "would go")
        return
    with only_one("clean"), _nobody_at_work():
        found = _found(scope)
        _tell(found, "goes")
        failed = list(_failures(found))
    if failed:
        raise PipelineError("\n".join(failed))


def _help() -> str:
    return f"""\
What goes:
  - results, data, report files and locks of problems that are no longer in params.yaml;
  - finished runs in .state/runs.sqlite not asked for in {UNASKED / cache.DAY:.0f} days, and the oldest beyond its size;
  - checkpoints of runs in progress that were not continued for {UNTOUCHED / 3600:.0f} hours;
  - what broke or was left over: *.broken in the root and in .state, .NAME.tmp of killed stages;
  - compiled code in {cache.user_folder()} that was not used in {cache.UNUSED / cache.DAY:.0f} days.
Finished runs stay in the store: a problem that comes back into params.yaml is there in seconds, by `dvc repro`.
Nothing else outside the repository is touched; DVC's own cache is emptied by `dvc gc --workspace`.
"""


def _parser() -> Arguments:
    told = "clean: Delete what nobody needs any more; says first what."
    parser = arguments("clean", told, epilog=_help(), allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing")
    parser.add_argument("--cache", action="store_true", help="all compiled code, too; it is compiled again when needed")
    parser.add_argument("--all", action="store_true", help="everything that was made or trained here, finished runs included")
    return parser


def of_problems(scope: Scope) -> Iterator[Waste]:
    """Results, data, report files and locks of problems that do not stay."""
    why = "everything made here" if scope.whole_store else "of problems that are not in params.yaml"
    yield from _files(why, [*_results(scope), *_data(scope), *_reports(scope), *_locks(scope)])


def finished_runs(scope: Scope) -> Iterator[Waste]:
    """What was not asked for since long, or is too much."""
    if not _is_within(store_root() / STATE / "runs.sqlite"):
        return
    asked = {"largest": 0.0} if scope.whole_store else {"unasked": UNASKED}
    count, size = store().spare(**asked)
    if count:
        why = "" if scope.whole_store else ", that nobody asked for since long, or that are too much"
        what = f"{count:,} entries of the store of finished runs, {STATE}/runs.sqlite{why}"
        yield Waste(what, size, lambda: store().shrink(**asked))


def leftovers(scope: Scope) -> Iterator[Waste]:
    """What broke and was set aside, and what killed stages left; wherever a problem goes as a whole, it goes with it."""
    broken = [path for root in (Path(), STATE) for path in _in(root) if BROKEN.fullmatch(path.name) and not _is_folder(path)]
    gone = {*_results(scope), *_reports(scope)}
    unfinished = [
        Path(folder, name)
        for root in (DATA, RESULTS, REPORTS)
        if _is_inside(root)
        for folder, _, names in os.walk(root)
        for name in names
        if UNFINISHED.fullmatch(name) and not gone & set(Path(folder, name).parents)
    ]
    yield from _files("broken or left over", [*broken, *unfinished])


def unfinished(scope: Scope) -> Iterator[Waste]:
    """Checkpoints of runs that nobody goes on with, and what those of a script said that failed."""
    limit = time.time() - (0 if scope.whole_store else UNTOUCHED)
    for folder, what in (
        ("progress", "checkpoints of runs that nobody goes on with"),
        ("failed", "last words of runs that failed"),
    ):
        yield from _files(what, [path for path in _in(STATE / folder) if last_written(path) <= limit])


def compiled(scope: Scope) -> Iterator[Waste]:
    """Compiled code, and what was found out about models, for all repositories of this user."""
    place = cache.user_folder()
    entries = list((cache.entries if scope.whole_cache else cache.outdated)(place)) if place else []
    if entries:
        why = "" if scope.whole_cache else " that was not used for long"
        size = sum(entry.size for entry in entries)
        yield Waste(f"compiled code in {place}{why}: {len(entries):,} files", size, lambda: cache.remove(entries))


KINDS: list[Callable[[Scope], Iterable[Waste]]] = [of_problems, finished_runs, unfinished, leftovers, compiled]
"""All that is looked for. What a tracker has of problems that are no more (MLflow's experiments, Optuna's studies) is one more
function here: it yields what would go, without changing anything, for the problems that are not among ``scope.problems``."""


def _found(scope: Scope) -> list[Waste]:
    return [waste for kind in KINDS for waste in kind(scope)]


def _tell(found: Sequence[Waste], how: str) -> None:
    for waste in found:
        print(f"{how}: {waste.what}, {in_bytes(waste.size)}", flush=True)
    if not found:
        print("nothing to clean")


def _failures(found: Sequence[Waste]) -> Iterator[str]:
    """Take away what was found; yields a line for each thing that could not be."""
    for waste in found:
        try:
            waste.remove()
        except PipelineError as error:
            yield str(error)


@contextlib.contextmanager
def _nobody_at_work() -> Iterator[None]:
    """Hold the locks of all stages there were; raises :class:`PipelineError` where one is at work."""
    with contextlib.ExitStack() as held:
        for path in _in(STATE):
            if path.suffix == ".lock" and path.name != "clean.lock" and path.is_file() and not path.is_symlink():
                try:
                    held.enter_context(FileLock(path, timeout=0))
                except Timeout:
                    raise PipelineError(f"{_shown(path.stem)} is at work; clean when it is done") from None
        yield


def _results(scope: Scope) -> list[Path]:
    """Folders under ``results/``, and links to them, that are of no problem that stays."""
    return [path for path in _in(RESULTS) if path.name not in scope.problems and (path.is_dir() or path.is_symlink())]


def _data(scope: Scope) -> list[Path]:
    """What stages wrote under ``data/``: ``P.parquet``, ``P.splits.parquet``; no problem's name has a dot in it."""
    written = [path for path in _in(DATA) if path.suffix == ".parquet" and path.name[0] != "."]
    gone = [path for path in written if path.name.partition(".")[0] not in scope.problems and not _is_folder(path)]
    said = [DATA / "digests.json", DATA / "params.json"]
    return gone + [path for path in said if scope.whole_store and path.is_file() and _is_inside(DATA)]


def _reports(scope: Scope) -> list[Path]:
    """Scripts, weights and figures of other problems; or all that is not in git."""
    if scope.whole_store:
        made = ("best", "evidence", "figures", "curves.csv", "report.html")
        return [path for path in _in(REPORTS) if path.name in made]
    stay = tuple(f"{name}-" for name in (*scope.problems, *RESERVED))
    best = [path for path in _in(REPORTS / "best") if path.name.partition(".")[0] not in scope.problems]
    drawn = [path for path in _in(REPORTS / "figures") if path.suffix == ".svg" and not path.name.startswith(stay)]
    figures = [path for path in drawn if not _is_folder(path)]
    return [path for path in (*best, *figures) if path.name[0] != "."]


def _locks(scope: Scope) -> list[Path]:
    """Of stages of other problems, and the folder in which searches were kept before there was a store."""
    stages = [path for path in _in(STATE) if "@" in path.name and path.suffix == ".lock" and not _is_folder(path)]
    old = [path for path in [STATE / "tune"] if path.is_dir() and _is_inside(STATE)]
    return old + [path for path in stages if path.stem.partition("@")[2] not in scope.problems]


def _in(folder: Path) -> list[Path]:
    """What lies in a folder of the repository, in order; nothing where it is none, or a link out of it."""
    return sorted(folder.iterdir()) if _is_inside(folder) else []


def _is_inside(folder: Path) -> bool:
    return folder.is_dir() and _is_within(folder)


def _is_within(path: Path) -> bool:
    """Whether it lies in the repository, wherever links lead."""
    try:
        return path.resolve().is_relative_to(Path.cwd().resolve())
    except (OSError, RuntimeError):  # links in a circle
        return False


def _is_folder(path: Path) -> bool:
    """Not a link to one."""
    return path.is_dir() and not path.is_symlink()


def _files(why: str, paths: Sequence[Path]) -> Iterator[Waste]:
    """The files and folders as one thing that goes, if there are any."""
    if paths:
        named = ", ".join(map(_shown, paths[:3])) + (f" and {len(paths) - 3:,} more" if len(paths) > 3 else "")
        yield Waste(f"{why}: {named}", sum(map(_size, paths)), lambda: _removed(paths))


def _removed(paths: Iterable[Path]) -> None:
    """Take away all that can be; raises :class:`PipelineError` with a line for each that can not."""
    failed = []
    for path in paths:
        try:
            if _is_folder(path):
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            failed.append(f"{_shown(path)} cannot be removed ({error.strerror}); remove it by hand")
    if failed:
        raise PipelineError("\n".join(failed))


def _size(path: Path) -> int:
    """Bytes of a file or a link, or of all in a folder."""
    inside = [Path(folder, name) for folder, _, names in os.walk(path) for name in names] if _is_folder(path) else [path]
    return sum(each.lstat().st_size for each in inside)


def _shown(name: object) -> str:
    """A name from the disk, which may hold any sign, for a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(name))
