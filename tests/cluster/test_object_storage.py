"""Scores and runs in object storage: moto's server, which speaks S3 over HTTP, and s3fs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from melanoma.cluster.shards import NamedFile, ShardFolder, make_plan
from melanoma.cluster.stored_folder import StoredFolder
from melanoma.errors import ImageError, StorageError

moto = pytest.importorskip("moto.server", reason="make test-cluster installs moto and [s3]")
s3fs = pytest.importorskip("s3fs", reason="make test-cluster installs moto and [s3]")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty bucket, with the environment that leads there."""
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("bucket")
    yield "s3://bucket"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_scores_photographs_and_runs_lie_in_a_bucket_that_is_there(
    bucket: str, tmp_path: Path
) -> None:
    photographs = [NamedFile(name, f"{bucket}/in/{name}.jpg") for name in ("one", "empty", "none")]
    s3fs.S3FileSystem().pipe({"bucket/in/one.jpg": b"photograph", "bucket/in/empty.jpg": b""})
    assert [file.read() for file in photographs[:2]] == [b"photograph", b""]
    with pytest.raises(ImageError, match="No such file"):
        photographs[2].read()

    scores = ShardFolder(f"{bucket}/scores")
    scores.begin(plan := make_plan(photographs, "key", 2), photographs)
    assert [ShardFolder(f"{bucket}/scores").files_of(n) for n in (0, 1)] == [
        photographs[:2],
        photographs[2:],
    ]
    scores.write(1, b"part")
    assert ShardFolder(f"{bucket}/scores").finished() == {1}

    (tmp_path / "here").mkdir()
    (tmp_path / "here/run.json").write_text("1")
    runs = StoredFolder(f"{bucket}/runs", tmp_path / "here")
    assert runs.is_empty
    runs.push()
    StoredFolder(f"{bucket}/runs", tmp_path / "there").pull()
    assert (tmp_path / "there/run.json").read_text() == "1"
    (tmp_path / "here/run.json").unlink()
    runs.push()
    assert runs.is_empty

    for folder in (ShardFolder("s3://bukcet/scores"), StoredFolder("s3://bukcet/r", tmp_path)):
        with pytest.raises(StorageError, match=r"s3://bukcet/.* cannot be written"):
            folder.begin(plan, photographs) if isinstance(folder, ShardFolder) else folder.push()
    assert s3fs.S3FileSystem().ls("") == ["bucket"]
