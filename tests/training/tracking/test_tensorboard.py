"""TensorBoard's files hold a fold's epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_lines import run_lines

from melanoma.training.tracking.tracker_catalog import make_trackers


def test_tensorboard_s_files_hold_every_epoch_the_recipe_and_the_end(
    tracked: Any, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboardX", reason="needs the extra [tensorboard]")
    run, said = tracked(make_trackers(f"tensorboard:{tmp_path / 'board'}"))
    assert said == []
    [folder] = (tmp_path / "board/test").iterdir()
    assert folder.name.startswith("fold_0-")
    numbers, texts = _events(folder)
    assert numbers["valid_loss"] == {
        line["epoch"]: pytest.approx(line["valid_loss"], rel=1e-6) for line in run_lines(run)
    }
    assert "backbone: tiny" in texts["recipe/text_summary"]
    assert texts["status/text_summary"] == "FINISHED"
    assert texts["kept/text_summary"].startswith(run.facts.kept)


def _events(folder: Path) -> tuple[dict[str, dict[int, float]], dict[str, str]]:
    """Numbers by name and step, and texts by name, of TensorBoard's records in a folder."""
    from tensorboardX.proto.event_pb2 import Event
    from tfrecord.reader import tfrecord_iterator

    numbers: dict[str, dict[int, float]] = {}
    texts: dict[str, str] = {}
    for file in folder.iterdir():
        for record in tfrecord_iterator(str(file)):
            event = Event.FromString(bytes(record))
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    numbers.setdefault(value.tag, {})[event.step] = value.simple_value
                else:
                    texts[value.tag] = value.tensor.string_val[0].decode()
    return numbers, texts
