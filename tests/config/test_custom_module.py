"""A mistake in custom.py is one placed line, whoever imports it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

FIRST = '"""My own."""\n'
MODEL = "from torch import nn\nfrom pipeline.problems.models import register\n"
OPTIMIZER = "import torch\nfrom pipeline.problems.optimizers import register\n"
SCHEDULER = "from torch.optim.lr_scheduler import LambdaLR\nfrom pipeline.schedulers.registry import register\n"
OF_NULL_BYTES = "SyntaxError" if sys.version_info >= (3, 11, 4) else "ValueError"
MISTAKES: dict[str, tuple[str, str]] = {
    "syntax": ("def f(:\n", "2: SyntaxError: invalid syntax; "),
    "indentation": (
        "def f():\nx = 1\n",
        "3: IndentationError: expected an indented block after ",
    ),
    "a missing module": ("import no_such_module\n", "2: there is no module no_such_module here; install it"),
    "a missing name": ("\nfrom torch import no_such_name\n", "3: cannot import name 'no_such_name' from 'torch' "),
    "an unknown name": ("x = 1\nx = nn.Linear\n", "3: NameError: name 'nn' is not defined; mend this line"),
    "a value": ("def f():\n    raise ValueError('of mine\\nand more')\n\nf()\n", "3: ValueError: of mine and more; mend"),
    "a double name": (
        MODEL + '\n@register("linear")\ndef f(inputs: int, outputs: int): ...\n',
        "5: the model 'linear' is registered twice; give one",
    ),
    "no annotation": (
        MODEL + '\n@register("f")\ndef f(inputs: int, outputs: int, width): ...\n',
        "5: f: the argument width needs a name and an annotation of its own; annotate it as int",
    ),
    "any arguments": (
        MODEL + '\n@register("f")\nclass F(nn.Module):\n    def __init__(self, inputs, outputs, **more): ...\n',
        "5: F: the argument more needs a name and an annotation of its own; ",
    ),
    "an annotation that is not there": (
        "from __future__ import annotations\n" + MODEL + '\n@register("f")\ndef f(inputs, outputs, x: Width): ...\n',
        "6: f: the annotation of the argument x cannot be read (name 'Width' is not defined); import its name above",
    ),
    "an annotation of no YAML": (
        MODEL + '\n@register("f")\ndef f(inputs, outputs, x: nn.Module): ...\n',
        "5: f has an argument of a kind that no YAML is (",
    ),
    "too few arguments": (
        MODEL + '\n@register("f")\ndef f(width: int = 3): ...\n',
        "5: f does not take inputs and outputs, which it is given before the arguments of params.yaml; let it begin ",
    ),
    "a scheduler without arguments": (
        SCHEDULER + '\n@register("f")\ndef f(): ...\n',
        "5: f does not take optimizer, which it is given before the arguments of params.yaml; let it begin ",
    ),
    "a model of its rows without arguments": (
        MODEL + '\n@register("f")\ndef f(): ...\n',
        "5: f does not take inputs and outputs, which it is given before",
    ),
    "an optimizer without a rate": (
        OPTIMIZER + '\n@register("F")\ndef f(parameters, eps: float): ...\n',
        "5: the optimizer 'F' has no argument lr; give it one",
    ),
    "a search of nothing": (
        SCHEDULER + '\n@register("F", begins=["x"])\ndef f(optimizer, total_steps, y: int): ...\n',
        "5: the scheduler 'F' has no argument x; it has y",
    ),
    "no name": (
        SCHEDULER + "\n@register\ndef mine(optimizer, total_steps: int): ...\n",
        '5: mine is registered without a name; write @register("mine")',
    ),
    "no text for a name": (
        MODEL + "\n@register(3)\ndef f(inputs: int, outputs: int): ...\n",
        '5: a model is registered under 3, which is no name; write @register("mine")',
    ),
    "a circle": (
        "from pipeline.custom import mine\n",
        "2: cannot import name 'mine' from partially initialized module 'pipeline.custom' (most likely due to a circular ",
    ),
    "no text": ("x = 1\0\n", f"1: {OF_NULL_BYTES}: source code string cannot contain null bytes; "),
    "another folder": ("import os\nos.chdir('/')\nx = y\n", "4: NameError: name 'y' is not defined; mend this line"),
    "processes": (
        "import multiprocessing, time\nmultiprocessing.Process(target=time.sleep, args=(1,), daemon=True).start()\n",
        " begins processes or threads (1) as it is imported; begin them in the function that needs them",
    ),
    "threads": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(3,)).start()\n",
        " begins processes or threads (1) as it is imported; begin them in the function that needs them",
    ),
    "another dtype": (
        "import torch\ntorch.set_default_dtype(torch.float64)\n",
        " torch.set_default_dtype is changed from torch.float32 to torch.float64 as it is imported; take that out: ",
    ),
    "another device": (
        "import torch\ntorch.set_default_device('meta')\n",
        " torch.set_default_device is changed from cpu to meta as it is imported; take that out: ",
    ),
    "no gradients": (
        "import torch\ntorch.set_grad_enabled(False)\n",
        " torch.set_grad_enabled is changed from True to False as it is imported; take that out: ",
    ),
    "an end": ("quit()\n", "2: ends the process; take that out"),
    "no Exception": (
        "class Skipped(BaseException): ...\n\nraise Skipped('no GPU')\n",
        "4: Skipped: no GPU; mend this line",
    ),
    "an exit": ("import sys\nsys.exit('bye')\n", "3: ends the process (bye); take that out"),
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


LOADED = """
import importlib, sys
from pathlib import Path

import torch

sys.path.insert(0, "")
from pipeline.config import custom_module
from pipeline.catalogue import CATALOGUE

for name, text in eval(sys.stdin.read()).items():
    Path("pipeline/custom.py").write_text(text)
    sys.modules.pop("pipeline.custom", None)
    vars(sys.modules["pipeline"]).pop("custom", None)
    importlib.invalidate_caches()
    try:
        custom_module.modules()
    except SystemExit as end:
        assert end.code == 2
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
"""


def test_each_is_told_with_its_place(clone: Path) -> None:
    """All in one process, for each needs torch."""
    texts = {name: FIRST + text for name, (text, _) in MISTAKES.items()}
    done = subprocess.run(
        [sys.executable, "-B", "-c", LOADED], cwd=clone, input=repr(texts), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    for line, (name, (_, words)) in zip(lines, MISTAKES.items(), strict=True):
        assert line.startswith(f"pipeline/custom.py:{words}"), name
        assert "; " in line, name


USERS = """
from torch.optim.lr_scheduler import LambdaLR
from pipeline.schedulers.registry import register

@register("Mine")
class Mine(LambdaLR):
    def __init__(self, optimizer, total_steps, power: float = 2.0):
        super().__init__(optimizer, lambda step: (1 - step / total_steps) ** power)
"""
SHOWN = "from pipeline.catalogue import CATALOGUE; print(CATALOGUE.schedulers['Mine'].arguments.model_fields.keys())"
COMMAND = "import runpy; sys.argv = {words}; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
COPIES = """
import os, sys
from pathlib import Path
sys.path.insert(0, "")
import pipeline.catalogue

for name in [name for name in sys.modules if name.partition(".")[0] == "pipeline"]:
    del sys.modules[name]
sys.dont_write_bytecode = True
for number, (texts, code) in enumerate(eval(sys.stdin.read())):
    for name, text in texts.items():
        Path(name).write_text(text)
    if not os.fork():
        for stream, name in ((1, "out"), (2, "error")):
            os.dup2(os.open(f"{number}.{name}", os.O_WRONLY | os.O_CREAT), stream)
        exec(code)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""
"""A process that imports what the pipeline needs, which takes seconds, once; a copy for each case imports the pipeline."""


def package(code: str, broken: str = "", shown: str = SHOWN) -> tuple[dict[str, str], str]:
    """A package of the user's own beside params.yaml."""
    params = f"seeds: 2\ncode: {code}\n"
    return {"pipeline/custom.py": "", "params.yaml": params, "mypackage/schedulers.py": USERS + broken}, shown


def command(*words: str) -> tuple[dict[str, str], str]:
    """A command where custom.py is broken."""
    return {"pipeline/custom.py": "import no_such_module\n"}, COMMAND.format(words=list(words))


RIGHT = [package("mypackage.schedulers"), package("[mypackage.schedulers]")]
WRONG = [
    (package("mypackage.models"), "params.yaml: code: there is no module mypackage.models here; write a package beside"),
    (package("mypackage.schedulers", "x = y\n"), "mypackage/schedulers.py:9: NameError: name 'y' is not defined; mend this"),
    (package("mypackage.schedulers", "def f(:\n"), "mypackage/schedulers.py:9: SyntaxError: invalid syntax; write it as"),
    (package("mypackage.schedulers", "import no_such_thing\n"), "mypackage/schedulers.py:9: there is no module no_such_thing"),
    (command("pipeline.stages.dataset", "x"), "pipeline/custom.py:1: there is no module no_such_module here; "),
    (command("pipeline", "schedulers"), "pipeline/custom.py:1: there is no module no_such_module here; "),
]


@pytest.mark.slow
def test_a_package_of_ones_own_is_imported_and_a_mistake_ends_with_its_place(clone: Path) -> None:
    (clone / "mypackage").mkdir()
    (clone / "pipeline/custom.py").write_text("", encoding="utf-8")
    cases = [*RIGHT, *(case for case, _ in WRONG)]
    done = subprocess.run(
        [sys.executable, "-c", COPIES], cwd=clone, input=repr(cases), capture_output=True, text=True, check=True
    )
    told = [tuple((clone / f"{number}.{name}").read_text("utf-8") for name in ("out", "error")) for number in range(len(cases))]
    assert done.stdout.split() == [*"0" * len(RIGHT), *"2" * len(WRONG)], told
    for out, error in told[: len(RIGHT)]:
        assert out == "dict_keys(['power'])\n", error
    for (out, error), (_, line) in zip(told[len(RIGHT) :], WRONG, strict=True):
        assert out == ""
        assert error.startswith(line), error
        assert len(error.splitlines()) == 1
