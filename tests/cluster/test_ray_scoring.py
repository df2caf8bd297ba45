"""Scoring on Ray: the rows that predict gives, each once, whatever is killed on the way."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from melanoma.cluster.predict_on_ray import find_named
from melanoma.cluster.ray_scoring import ScoreShard, Scoring, score_on_ray
from melanoma.cluster.shards import NamedFile, ShardFolder, make_plan
from melanoma.errors import MelanomaError, RecipeError
from melanoma.scoring.files.find import find_images
from melanoma.scoring.files.score_files import LocalScorer, score_files
from melanoma.scoring.files.score_rows import COLUMNS, Row, as_columns
from melanoma.workflows.watch import SILENT

parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra [ray]")


@pytest.fixture
def folder(bundle_folder: Path, tmp_path: Path) -> Path:
    """Forty phantoms and one file that is none."""
    target = tmp_path / "images"
    target.mkdir()
    found = sorted((bundle_folder.parent / "data/jpeg").rglob("*.jpg"))[:40]
    for number, photograph in enumerate(found):
        (target / f"{number:02d}.jpg").symlink_to(photograph)
    (target / "broken.jpg").write_bytes(b"no photograph")
    return target


def rows_of(out: Path) -> list[Row]:
    found: list[Row] = []
    for part in sorted(out.glob("part-*.parquet")):
        found += parquet.read_table(part).to_pylist()
    return found


def expected(folder: Path, scoring: Scoring) -> list[Row]:
    files = find_images([folder])
    return as_columns(score_files(scoring.open(), files, progress=lambda items, **_: items))


def assert_same(found: list[Row], wanted: list[Row]) -> None:
    assert [row["image_name"] for row in found] == [row["image_name"] for row in wanted]
    for mine, other in zip(found, wanted, strict=True):
        for key, value in other.items():
            assert mine[key] == pytest.approx(value, abs=1e-6), key


def test_every_column_of_a_row_has_a_type_of_its_own() -> None:
    from melanoma.scoring.files import parquet_rows

    schema = parquet_rows.row_schema(["a", "b", "c"])
    assert set(COLUMNS) - {"by_class"} <= set(schema.names)
    texts = {field.name for field in schema if field.type == "string"}
    assert texts == set(parquet_rows._TEXT)


def test_a_shards_rows_are_those_of_predict_and_it_is_there_whole_or_not_at_all(
    bundle_folder: Path, folder: Path, tmp_path: Path
) -> None:
    scoring, out = Scoring(bundle_folder, "cpu"), str(tmp_path / "out")
    files = find_named([folder], data=None, image_col=None, watch=SILENT)
    shards = ShardFolder(out)
    plan = make_plan(files, "key", 16)
    shards.begin(plan, files)
    actor = ScoreShard(scoring, out, scoring.open().digest)
    answers = [actor({"shard": number}) for number in (2, 0, 1, 0)]
    assert [answer["failure"] for answer in answers] == [""] * 4
    assert_same(rows_of(tmp_path / "out"), expected(folder, scoring))
    assert list(shards.counts()) == [(16, 0), (16, 0), (9, 1)]
    assert shards.finished() == {0, 1, 2}
    assert not list((tmp_path / "out").glob("*.tmp"))
    with pytest.raises(RecipeError, match="scores of other files"):
        shards.begin(make_plan(files[1:], "key", 16), files)
    with pytest.raises(RecipeError, match="scores of other weights or options"):
        shards.begin(make_plan(files, "other", 16), files)


def test_what_an_actor_cannot_open_is_one_answer(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    answer = ScoreShard(Scoring(tmp_path / "none", "cpu"), out, "")({"shard": 0})
    assert answer["exit_code"] == 5
    assert "no bundle" in answer["failure"]


def test_a_node_that_opens_another_bundle_than_the_command_scores_nothing(
    bundle_folder: Path, folder: Path, tmp_path: Path
) -> None:
    out, files = (
        str(tmp_path / "out"),
        find_named([folder], data=None, image_col=None, watch=SILENT),
    )
    ShardFolder(out).begin(make_plan(files, "key", 16), files)
    answer = ScoreShard(Scoring(bundle_folder, "cpu"), out, "0123456789abcdef")({"shard": 0})
    assert (answer["exit_code"], answer["rows"]) == (5, 0)
    assert "is another bundle than the command opened" in answer["failure"]
    assert ShardFolder(out).finished() == set()


def test_a_parquet_table_names_files_by_path(tmp_path: Path) -> None:
    import pyarrow as pa

    table = pa.table({"image_name": ["a", "b"], "path": ["x/1.jpg", "s3://bucket/2.jpg"]})
    parquet.write_table(table, tmp_path / "list.parquet")
    found = find_named([tmp_path / "list.parquet"], data=None, image_col=None, watch=SILENT)
    assert found == [
        NamedFile("a", str(tmp_path / "x/1.jpg")),
        NamedFile("b", "s3://bucket/2.jpg"),
    ]
    parquet.write_table(table.drop_columns("path"), tmp_path / "list.parquet")
    with pytest.raises(RecipeError, match="no column path"):
        find_named([tmp_path / "list.parquet"], data=None, image_col=None, watch=SILENT)


def test_a_file_has_one_row_although_actors_are_killed_and_the_run_is_begun_again(
    bundle_folder: Path, folder: Path, two_nodes: Any, tmp_path: Path
) -> None:
    import ray

    scoring, out = Scoring(bundle_folder, "cpu"), str(tmp_path / "out")
    files = find_named([folder], data=None, image_col=None, watch=SILENT)
    stop, killed = threading.Event(), list[int]()

    third = two_nodes.add_node(**two_nodes.options)

    def kill() -> None:
        """Once a shard is written: a node, and whoever holds a bundle, at a random moment."""
        while not stop.wait(0.05):
            if not killed and ShardFolder(out).finished():
                time.sleep(random.Random(time.time_ns()).uniform(0, 0.5))
                two_nodes.remove_node(third, allow_graceful=False)
                for process in psutil.process_iter(["cmdline"]):
                    title = " ".join(process.info["cmdline"] or ())
                    if title.startswith("ray::") and "MapWorker" in title:
                        process.kill()
                        killed.append(process.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        scored = score_on_ray(ray, files, scoring, out, shard_size=4)
    finally:
        stop.set()
        killer.join()
    assert killed
    assert (scored.files, scored.errors) == (41, 1)
    assert_same(rows_of(tmp_path / "out"), expected(folder, scoring))
    (tmp_path / "out/part-00003.parquet").unlink()
    again = score_on_ray(ray, files, scoring, out, shard_size=4)
    assert (again.files, again.now) == (41, 4)
    assert_same(rows_of(tmp_path / "out"), expected(folder, scoring))
    with pytest.raises(MelanomaError, match="scores of other"):
        score_on_ray(ray, files[:-1], scoring, out, shard_size=4)


FATAL = b"ends the process that decodes it"


class FatalScoring(Scoring):
    """A scorer whose decoder crashes on one file, as a fault in a library does."""

    def open(self) -> LocalScorer:
        scorer = super().open()
        prepare = scorer.prepare

        def crash(data: bytes) -> Any:
            if data == FATAL:
                os.kill(os.getpid(), signal.SIGKILL)
            return prepare(data)

        scorer.prepare = crash  # type: ignore[method-assign]
        return scorer


def test_a_file_that_crashes_its_process_is_a_row_with_an_error(
    bundle_folder: Path, folder: Path, two_nodes: Any, tmp_path: Path
) -> None:
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    (folder / "fatal.jpg").write_bytes(FATAL)
    for path in sorted(folder.glob("[1-3]*.jpg")):
        path.unlink()
    files = find_named([folder], data=None, image_col=None, watch=SILENT)
    out = tmp_path / "out"
    scored = score_on_ray(ray, files, FatalScoring(bundle_folder, "cpu"), str(out), shard_size=4)
    assert (scored.files, scored.errors) == (12, 2)
    errors = {row["image_name"]: row["error"] for row in rows_of(out) if row["error"]}
    assert errors["fatal"].startswith("process_died: ")
    assert not list(out.glob("tries-*"))
    (folder / "fatal.jpg").unlink()
    wanted = {row["image_name"]: row for row in expected(folder, Scoring(bundle_folder, "cpu"))}
    found = [row for row in rows_of(out) if row["image_name"] != "fatal"]
    assert_same(found, [wanted[row["image_name"]] for row in found])
    assert len(found) == len(wanted)
