"""The page with two versions of one model: both in the list, the newest chosen first."""

from __future__ import annotations

import copy
from typing import Any

import httpx


def test_both_versions_are_in_the_list_and_the_chosen_one_is_asked(at: Any, served: Any) -> None:
    info = httpx.get(f"{served.address}/info", timeout=20).json()
    newer = copy.deepcopy(info["models"][0])
    newer["version"] += 9
    info["models"] = [newer, *info["models"]]
    at.answer("**/info", info)
    at.visit()
    at.page.wait_for_function("() => document.getElementById('model').options.length === 3")
    values = at.page.eval_on_selector_all("#model option", "all => all.map(o => o.value)")
    old, new = f"tiny@{newer['version'] - 9}", f"tiny@{newer['version']}"
    assert values[:2] == [new, old]
    at.page.select_option("#model", old)
    at.score(served.photographs[3])
    scored = [url for url in at.requests if "/predict" in url]
    assert scored
    assert all(f"model={old.replace('@', '%40')}" in url for url in scored)
