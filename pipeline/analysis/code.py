"""The few lines to paste for what is recommended: optimizer, scheduler, and after what to step it."""

import json
from collections.abc import Iterator

from pipeline.analysis import script
from pipeline.analysis.answer import best_file
from pipeline.analysis.script import Part
from pipeline.analysis.tables import ProblemResults, Row, records
from pipeline.config.params import Component
from pipeline.schedulers.replay import Budget, monitored


def code(results: ProblemResults, run: str | None) -> str:
    """For a training loop that has a ``model`` and a ``loader``; nothing where no run finished."""
    rows = records(results.runs[results.runs["run"] == run])
    return "\n".join(_lines(results, rows[0])) + "\n" if rows else ""


def _lines(results: ProblemResults, run: Row) -> Iterator[str]:
    component = Component(**{key: json.loads(run["optimizer"])[key] for key in ("name", "args")})
    schedule = script._schedule(run)
    made = script._scheduler(schedule, component, Budget(int(run["epochs"]), results.batches))
    optimizer = script._optimizer(component, float(f"{schedule.lr:.10g}"))
    yield from sorted({f"import {module}" for module in (optimizer.module, "torch") if module})
    yield "from torch.optim import lr_scheduler"
    yield ""
    yield f"optimizer = {optimizer.call.replace('parameters', 'model.parameters()', 1)}"
    yield (
        f"scheduler = {made.call}"
        if isinstance(made, Part)
        else f"# its rates, step by step, stand in {best_file(results.name)}"
    )
    yield f"for epoch in range({int(run['epochs'])}):"
    if component.name in script.FREE:
        yield "    optimizer.train()  # and optimizer.eval() before the model is evaluated or saved"
    yield "    for inputs, targets in loader:"
    yield "        ...  # forward, optimizer.zero_grad(), loss.backward()"
    if clip := results.params.clip:
        kind, most = ("norm", clip.norm) if clip.norm else ("value", clip.value)
        yield f"        torch.nn.utils.clip_grad_{kind}_(model.parameters(), {most})"
    yield "        optimizer.step()"
    if isinstance(made, Part):
        figure = (monitored(schedule) or "").replace("train_", "training_")
        yield f"{'        ' if schedule.interval == 'batch' else '    '}scheduler.step({figure})"
