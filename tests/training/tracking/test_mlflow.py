"""MLflow is told the recipe, each epoch and the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_lines import run_lines

from melanoma.training.tracking.mlflow import MlflowTracker
from melanoma.training.tracking.tracker_catalog import make_trackers


def test_a_password_is_not_in_the_tracker_s_name() -> None:
    assert MlflowTracker("http://user:secret@host:5000").name == "MLflow at http://host:5000"


def test_mlflow_in_a_sqlite_file_holds_parameters_metrics_and_versions(
    tracked: Any, tmp_path: Path
) -> None:
    pytest.importorskip("mlflow", reason="needs the extra [mlflow]")
    pytest.importorskip("sqlalchemy", reason="needs the extra [mlflow]")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    # Making the tables takes this machine's time, not the tracker's.
    run, said = tracked(make_trackers(uri), start_seconds=200, call_seconds=60)
    assert said == []
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("test")
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["optimizer.rate"] == "0.003"
    assert found.data.tags["version.torch"] == run.facts.versions["torch"]
    assert found.data.tags["recipe_digest"] == run.facts.recipe_digest
    losses = client.get_metric_history(found.info.run_id, "valid_loss")
    assert [(m.step, m.value) for m in losses] == [
        (line["epoch"], line["valid_loss"]) for line in run_lines(run)
    ]


def test_mlflow_whose_server_is_down_is_one_warning(tracked: Any) -> None:
    pytest.importorskip("mlflow", reason="needs the extra [mlflow]")
    run, said = tracked(make_trackers("http://user:secret@127.0.0.1:9"), start_seconds=300)
    [warning] = said
    assert "no answer in" not in warning, "it was asked again and again"
    assert warning.startswith("warning: MLflow at http://127.0.0.1:9:")
    assert "secret" not in warning
    assert [line["epoch"] for line in run_lines(run)] == [1, 2]
