"""Row 61 of shared/faults.md: weights that cannot be fetched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
from refusals import require_refusal

from melanoma.models.backbones import BACKBONES

Door = Callable[..., Any]
Recipes = Callable[..., Path]


def test_offline_and_without_a_file_says_what_to_put_where(
    options: list[str | Path], tmp_path: Path
) -> None:
    closed = "http://127.0.0.1:9"  # the discard port: nobody listens
    proxies = dict.fromkeys(("https_proxy", "HTTPS_PROXY", "all_proxy"), closed)
    answer = forked.run(
        *("-m", "melanoma.train", *map(str, options), "--fold", "0", "--pretrained", "imagenet"),
        environment={**os.environ, **proxies, "no_proxy": ""},
        cwd=tmp_path,
        timeout=120,
    )
    published = BACKBONES["resnet18"].pretrained
    require_refusal(
        answer,
        5,
        published.url,
        published.sha256,
        f"weights/imagenet/{published.file_name} is absent",
        "--set model.pretrained=none",
    )
    assert not list(tmp_path.glob("weights/tiny/fold_0/run.json"))
