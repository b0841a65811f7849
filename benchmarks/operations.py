"""Every operation that torch lists for its own tests, compiled and compared with torch: right, refused, never wrong.

``pip install -r benchmarks/requirements-operations.txt``, then ``python -m benchmarks.operations [--samples 2] [NAME ...]``:
for each operation, type of number and sample of its arguments a model of that operation alone is trained for a step, with
its gradient, in compiled code and as tensors. Prints the counts, why those that are refused are, and each that is wrong.
"""

import argparse
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap

from benchmarks.machine import conditions
from pipeline.engine.code import code_fingerprint
from pipeline.engine.compiler import NoCompilerError
from pipeline.engine.lanes.program import LaneProgram
from pipeline.engine.lanes.values import MistranslatedError, UntranslatableError
from pipeline.engine.program import Runs

RUNS, SAMPLES, FEATURES = 3, 9, 4
LARGEST = 64
"""Elements of an operand."""
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "float32": lambda s: s,
    "int64": lambda s: s.long(),
    "large int64": lambda s: s.long() * (2**53 + 1),
    "int32": lambda s: s.int(),
    "bool": lambda s: s > 0,
}
"""What a run's numbers, which are real, become before they are an operation's operand."""
OF_ANY_NUMBERS = {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"}
"""Operations whose results are whatever lies in memory."""
OneRun = Callable[[Tensor, Tensor, Tensor], Any]
"""What is tried: a function of a run's state, of data x (samples, features) and of whole numbers y (samples,)."""


@dataclass(frozen=True)
class Alone:
    """Functions of a run, as :class:`pipeline.engine.functions.Functions`, whose model is one function."""

    function: OneRun
    names = ("only",)
    untrained = ()
    drawn = 0
    model = nn.Module()

    def step(self, state: list[Tensor], numbers: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """A step against the gradient of the sum of all results."""
        gradient, loss = grad_and_value(lambda s: self._loss(s, x, y))(state[0])
        return state[0] - 0.1 * numbers[0] * gradient, loss

    def evaluation(self, state: list[Tensor], x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The same sum for each sample, and another."""
        same = self._loss(state[0], 0 * x[:SAMPLES] + 1, 0 * y[:SAMPLES] + 1)
        return weights.sum() * same, (weights * x[:, 0]).sum() * state[0].sum()

    @staticmethod
    def evaluated(state: list[Tensor]) -> list[Tensor]:
        """The state itself."""
        return state

    def _loss(self, s: Tensor, x: Tensor, y: Tensor) -> Tensor:
        results = self.function(s, x, y)
        listed = results if isinstance(results, (tuple, list)) else [results]
        return torch.stack([_told_apart(result) for result in listed]).sum() + 0.01 * (s * s).sum()


def _told_apart(result: Tensor) -> Tensor:
    """A number that tells any change of the elements; of whole numbers by their last bits, which are exact as real ones."""
    real = (result & 1023 if result.dtype in (torch.int64, torch.int32) else result).float()
    return (real.flatten() * torch.linspace(0.5, 1.5, real.numel())).sum()


def runs_of(function: OneRun, start: Tensor, key: str) -> Runs:
    """Runs that begin at ``start`` and a little beside it."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn((20, FEATURES), generator=draw), torch.randint(0, 3, (20,), generator=draw)
    state = torch.stack([start.float() + 0.01 * number for number in range(RUNS)])
    parts, of_run = {"validation": torch.arange(20)[None]}, torch.zeros(RUNS, dtype=torch.int64)
    alone: Any = Alone(function)
    return Runs(alone, x, y, parts, of_run, [state], SAMPLES, 1, f"operations {key} {code_fingerprint()}")


def verdict(function: OneRun, start: Tensor, key: str) -> tuple[str, str]:
    """``right``, ``refused``, ``wrong``, ``crash`` or, where torch refuses by itself, ``torch``; and why."""
    runs = runs_of(function, start, key)
    try:
        step = vmap(runs.functions.step, in_dims=(0, 1, None, None, None))
        given = runs.x[:SAMPLES], runs.y[:SAMPLES], torch.ones(SAMPLES)
        step(runs.state, torch.ones(1, RUNS), *given)
    except Exception as error:  # noqa: BLE001  # torch says so in many ways
        return "torch", str(error)
    try:
        LaneProgram(runs)
    except MistranslatedError as error:
        return "wrong", str(error)
    except UntranslatableError as error:
        return "refused", str(error)
    except NoCompilerError as error:
        return "crash", str(error)
    except Exception as error:  # noqa: BLE001  # this is what must not be
        return "crash", f"{type(error).__name__}: {error}"
    return "right", ""


def listed(names: Sequence[str], samples: int) -> Iterator[tuple[str, OneRun, Tensor]]:
    """The name of each case, its function and where its runs begin."""
    from torch.testing._internal.common_methods_invocations import op_db

    operations: list[Any] = op_db
    for operation in operations:
        if operation.name in OF_ANY_NUMBERS or (names and operation.name not in names):
            continue
        for kind, of_state in KINDS.items():
            dtype = {"large int64": torch.int64}.get(kind) or getattr(torch, kind)
            if dtype in operation.supported_dtypes("cpu"):
                for number, sample in enumerate(_small(operation, dtype, samples)):
                    name = f"{operation.name}/{operation.variant_test_name} {kind} {number}"
                    yield name, _of_sample(operation, sample, of_state), sample.input


def _small(operation: Any, dtype: torch.dtype, count: int) -> list[Any]:
    """Samples of the operation's arguments that are small, taken evenly from all."""
    try:
        every = list(operation.sample_inputs("cpu", dtype, requires_grad=False))
    except Exception:  # noqa: BLE001  # some need what is not installed
        return []
    fitting = [
        s for s in every if isinstance(s.input, Tensor) and s.input.layout == torch.strided and 0 < s.input.numel() <= LARGEST
    ]
    return fitting[:: max(1, -(-len(fitting) // count))]


def _of_sample(operation: Any, sample: Any, of_state: Callable[[Tensor], Tensor]) -> OneRun:
    return lambda s, x, y: operation(of_state(s), *sample.args, **sample.kwargs)


def _reason(message: str) -> str:
    """The operation that has no translation, or how the message begins."""
    named = re.search(r"the operation (\S+)", message)
    return named[1] if named else " ".join(message.split()[:6])


def main() -> None:
    """Print how many cases there are of each verdict, and the reasons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="operations, by torch's name; all if none is given")
    parser.add_argument("--samples", type=int, default=2, help="of the arguments of each operation, for each type")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found, reasons, right = Counter[str](), Counter[str](), defaultdict[str, set[str]](set)
    for name, function, start in listed(asked.names, asked.samples):
        what, why = verdict(function, start, name)
        found[what] += 1
        right[what].add(name.partition("/")[0])
        if what == "refused":
            reasons[_reason(why)] += 1
        if what in ("wrong", "crash"):
            print(f"{what}: {name}: {why}", flush=True)
    print(f"\n{conditions()}; {asked.samples} samples an operation and type")
    print("| verdict | cases | operations |\n|---|---|---|")
    for what in ("right", "refused", "wrong", "crash", "torch"):
        print(f"| {what} | {found[what]} | {len(right[what])} |")
    print("\n| refused because of | cases |\n|---|---|")
    for reason, count in reasons.most_common(40):
        print(f"| {reason} | {count} |")


if __name__ == "__main__":
    main()
