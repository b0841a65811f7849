"""The report and the models that are kept, as MLflow has them."""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pipeline.config import files
from pipeline.runs import results
from pipeline.tracking.connection import connect, named, tracking_uri
from pipeline.tracking.messages import TrackerError
from pipeline.tracking.recorder import SHOWN_AS
from pipeline.tracking.rows import milliseconds

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

REPORT = "report"
"""The name of the report's experiment and runs."""
SERVED_WITH = ("mlflow", "numpy", "pandas", "pydantic", "ruamel.yaml", "safetensors", "scikit-learn", "torch")
Ids = dict[tuple[str, str], dict[str, str]]
"""(problem, stage) → fingerprint → MLflow's run id."""


def publish(folder: Path, inputs: Sequence[tuple[str, str]], origin: Mapping[str, str], ids: Ids) -> None:
    """Keep the files in ``folder`` as artifacts of a run; the same files again add nothing.

    ``ids`` are those of the runs it is made of.
    """
    digest = _digest(folder)
    client, experiment, _ = connect(REPORT)
    if client.search_runs([experiment], f"tags.fingerprint = '{digest}' and attributes.status = 'FINISHED'", max_results=1):
        return
    lines, known = _links(inputs, ids)
    tags = {"fingerprint": digest, "mlflow.note.content": "\n".join(lines), **origin}
    run_id = client.create_run(experiment, run_name=REPORT, tags=tags).info.run_id
    client.log_dict(run_id, known, "inputs.json")
    client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id, "FINISHED")


def register(problem: str) -> None:
    """Register the problem's kept model, of ``reports/best``, as its champion; the same model again adds nothing."""
    weights = (files.REPORTS / "best" / f"{problem}.safetensors").read_bytes()
    fingerprint, digest = results.run_of(weights), hashlib.sha256(weights).hexdigest()[:16]
    client, experiment, _ = connect(problem)
    model = named(problem)
    if not fingerprint or _champion(client, model) == digest:
        return
    runs = client.search_runs([experiment], f"tags.fingerprint = '{fingerprint}'", max_results=1)
    if not runs:
        raise TrackerError(f"MLflow has no run {fingerprint}; `make mirror` brings it there")
    import mlflow
    from mlflow.models import infer_signature

    from pipeline.catalogue import CATALOGUE
    from pipeline.config.params import load_params
    from pipeline.problems.loading import load_problem
    from pipeline.problems.run import stream
    from pipeline.runs.champion import Champion

    params, of_run = load_params(CATALOGUE), runs[0].data.params
    whole = load_problem(params, problem)
    champion = Champion.of(whole, weights, int(of_run["seed"]), stream("final", int(of_run["stream"])))
    example = champion.example()
    mlflow.set_tracking_uri(tracking_uri())
    mlflow.set_registry_uri(tracking_uri())
    with mlflow.start_run(run_id=runs[0].info.run_id):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=champion.predict,
            code_paths=[str(Path(__file__).resolve().parents[1])],
            input_example=example,
            signature=infer_signature(example, champion.predict(example)),
            registered_model_name=model,
            pip_requirements=[f"{name}=={version(name)}" for name in SERVED_WITH],
        )
    _measured(client, runs[0], logged.model_id)
    found = str(logged.registered_model_version)
    client.set_model_version_tag(model, found, "digest", digest)
    client.set_model_version_tag(model, found, "fingerprint", fingerprint)
    client.set_registered_model_alias(model, "champion", found)


def _measured(client: "MlflowClient", run: "Run", model: str) -> None:
    """Link the run's final figures to the model and to the data, so that MLflow's page of the model shows them."""
    assert run.inputs is not None  # whoever wrote the run has given it the data
    (given,) = run.inputs.dataset_inputs
    step = int(run.data.params["epochs"])
    for name in sorted(set(SHOWN_AS.values()) & set(run.data.metrics)):
        client.log_metric(
            run.info.run_id, name, run.data.metrics[name], milliseconds(step), step, model_id=model,
            dataset_name=given.dataset.name, dataset_digest=given.dataset.digest,
        )  # fmt: skip


def _champion(client: "MlflowClient", model: str) -> str:
    """The digest of the model's present champion, nothing where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version_by_alias(model, "champion").tags.get("digest", ""))
    except MlflowException:
        return ""


def _digest(folder: Path) -> str:
    """A name for all files in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _links(inputs: Sequence[tuple[str, str]], ids: Ids) -> tuple[list[str], dict[str, str]]:
    """Of the inputs that MLflow has runs of, a Markdown line for each, and all runs: fingerprint → MLflow's run id."""
    client, _, _ = connect(REPORT)
    lines: list[str] = []
    known: dict[str, str] = {}
    for problem, stage in inputs:
        experiment, own = client.get_experiment_by_name(named(problem)), ids.get((problem, stage))
        if experiment is None or own is None:
            continue
        known |= own
        query = quote(f'tags.stage = "{stage}"')
        where = f"#/experiments/{experiment.experiment_id}/runs?searchFilter={query}"
        lines.append(f"- [{problem}, {stage}: {len(own)} runs]({where})")
    return lines, known
