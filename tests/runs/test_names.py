"""Names of runs: another one exactly where something that defines them is."""

from dataclasses import replace

from pipeline.config.schedules import Schedule
from pipeline.engine.names import run_fingerprint
from pipeline.problems.run import Run

RUN = Run("label", Schedule(name="StepLR", args={"step_size": "30%"}), seed=0, epochs=10)
OTHERS = [
    replace(RUN, label="other"),
    replace(RUN, variant="tuned"),
    replace(RUN, seed=1),
    replace(RUN, epochs=11),
    replace(RUN, stream="tune"),
    RUN.draws[1],
    replace(RUN, schedule=Schedule(name="StepLR", args={"step_size": "31%"})),
    replace(RUN, schedule=Schedule(name="StepLR", args={"step_size": "30%"}, lr="50%")),
    replace(RUN, schedule=Schedule(name="StepLR", args={"step_size": "30%"}, interval="batch")),
    replace(RUN, schedule=Schedule(name="Other", args={"step_size": "30%"})),
]


def test_a_runs_fingerprint_tells_all_that_defines_it() -> None:
    names = [run_fingerprint(run, "problem") for run in [RUN, *OTHERS]] + [run_fingerprint(RUN, "other")]
    assert len(set(names)) == len(names)
    assert run_fingerprint(replace(RUN), "problem") == names[0]
