"""A member as timm has it, or none where timm's network says something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.export.timm_folder import ARCHITECTURES

pytestmark = pytest.mark.slow  # together they take many seconds


def test_a_network_that_timm_has_not_becomes_no_timm_folder(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from melanoma.scoring.backends.torch_members import load_members
    from melanoma.scoring.export import timm_folder

    network = load_members(bundle, torch.device("cpu")).networks[0]
    member = bundle.members[0]
    assert timm_folder.make_timm_member(bundle, member, network) is not None
    # Another network of the same shapes: what it says decides, not its name.
    monkeypatch.setitem(ARCHITECTURES, "resnet18", "resnet34")
    assert timm_folder.make_timm_member(bundle, member, network) is None
    monkeypatch.setitem(ARCHITECTURES, "resnet18", "resnet18")
    monkeypatch.setattr(timm_folder, "_LARGEST", -1.0)
    assert timm_folder.make_timm_member(bundle, member, network) is None


def test_a_tensor_that_has_two_names_is_written_under_both(bundle: Bundle, tmp_path: Path) -> None:
    from melanoma.scoring.backends.torch_members import load_members
    from melanoma.scoring.export import timm_folder

    network = load_members(bundle, torch.device("cpu")).networks[0]
    made = timm_folder.make_timm_member(bundle, bundle.members[0], network)
    assert made is not None
    made.model.again = made.model.conv1  # as CoaT's blocks have some
    timm_folder.write_timm_member(made, bundle, {}, tmp_path)
    written = load_file(tmp_path / "model.safetensors")
    assert torch.equal(written["again.weight"], written["conv1.weight"])
