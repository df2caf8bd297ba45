"""A fold's run in MLflow: the recipe as parameters, each epoch's numbers, versions as tags.

Needs the extra [mlflow]. Without it, or without its server, `start` raises; tracking.follow says so
and training goes on.
"""

from __future__ import annotations

import logging
import os
import re
import time
from typing import Any

from melanoma.errors import MelanomaError
from melanoma.recipe.recipe import Recipe
from melanoma.training.run.facts import RunFacts, RunStart
from melanoma.training.tracking.flat import epoch_metrics, flatten, version_tags
from melanoma.training.watchers import EpochRecord

_BATCH = 100  # the most parameters or tags in one request
_VALUE = 500  # characters of a parameter that every version of MLflow takes
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # what is trained here is nobody else's matter
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


class MlflowTracker:
    """One MLflow run a fold and start, in the experiment that has the recipe's name.

    A resumed fold is a new run that holds the earlier epochs too: each run is whole in itself.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.name = f"MLflow at {re.sub(r'//[^/@]+@', '//', uri)}"
        self._client: Any = None
        self._run = ""

    def start(self, facts: RunStart, recipe: Recipe, history: list[EpochRecord]) -> None:
        """Make the run. Raises MelanomaError without mlflow, mlflow's errors without a server."""
        client = self._client = _connect(self.uri)
        existing = client.get_experiment_by_name(recipe.name)
        experiment = existing.experiment_id if existing else client.create_experiment(recipe.name)
        run = client.create_run(
            experiment, run_name=f"{recipe.name} fold {facts.fold}", tags=version_tags(facts)
        )
        self._run = run.info.run_id
        from mlflow.entities import Param

        parameters = [Param(key, value[:_VALUE]) for key, value in flatten(recipe)]
        for begin in range(0, len(parameters), _BATCH):
            client.log_batch(self._run, params=parameters[begin : begin + _BATCH])
        for record in history:
            self.epoch(record)

    def epoch(self, record: EpochRecord) -> None:
        """Log the epoch's numbers under its number."""
        self._log(epoch_metrics(record), step=int(record["epoch"]))

    def finish(self, facts: RunFacts | None, *, status: str) -> None:
        """Log how it ended, and close the run."""
        if facts is not None:
            epochs = {"best_epoch": facts.best_epoch, "last_epoch": facts.last_epoch}
            self._log({key: float(value) for key, value in epochs.items()}, step=0)
            self._client.set_tag(self._run, "kept", facts.kept)
        self._client.set_terminated(self._run, status=status)

    def _log(self, values: dict[str, float], *, step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for key, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)


def _connect(uri: str) -> Any:
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise MelanomaError(
            f"it cannot be imported ({error}); install the extra: pip install 'melanoma[mlflow]'"
        ) from error
    # It tells of each table that it makes in a new database.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)
