"""An MLflow experiment as a table, for whoever judges runs that were logged elsewhere. Nothing is written."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.config.errors import PipelineError
from pipeline.config.wording import suggestion
from pipeline.tracking.connection import database, import_mlflow, tracking_uri
from pipeline.tracking.messages import one_line
from pipeline.tracking.rows import runs_in

if TYPE_CHECKING:
    from mlflow.entities import Run


class ExperimentError(PipelineError):
    """An experiment that cannot be read."""

    exit_code = 2


def experiment(name: str) -> pd.DataFrame:
    """A row per run, its columns named as MLflow's ``search_runs`` does: ``status``, ``metrics.…``, ``params.…``, ``tags.…``.

    A metric is the last value that was logged.
    """
    import_mlflow()
    uri, file = tracking_uri(), database()
    if file and not file.is_file():  # MLflow would create it
        raise ExperimentError(f"{file}: there is no such file; set MLFLOW_TRACKING_URI to where the runs are")
    from mlflow import MlflowClient

    try:
        client = MlflowClient(tracking_uri=uri)
        if found := client.get_experiment_by_name(name):
            return pd.DataFrame([_row(run) for run in runs_in(client, found.experiment_id)])
        there = [entry.name for entry in client.search_experiments()]
    except Exception as error:  # noqa: BLE001 - MLflow raises whatever its stores do
        raise ExperimentError(f"{uri}: cannot be read ({one_line(error)}); see MLFLOW_TRACKING_URI") from None
    raise ExperimentError(f"--mlflow {name}: there is no such experiment at {uri}; {suggestion(name, there)}")


def _row(run: "Run") -> dict[str, object]:
    kinds: Mapping[str, Mapping[str, object]] = {"metrics": run.data.metrics, "params": run.data.params, "tags": run.data.tags}
    entries = {f"{kind}.{name}": value for kind, values in kinds.items() for name, value in values.items()}
    return {"run_id": run.info.run_id, "status": run.info.status, **entries}
