"""Weights for a backbone: published ones by pinned sha256, or a file; data, never code."""

from __future__ import annotations

import contextlib
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from melanoma.errors import WeightsError
from melanoma.models.backbone_records import Backbone, HubWeights
from melanoma.models.backbones import find_backbone
from melanoma.models.published_weights import find_published, load_from_hub
from melanoma.storage import open_file, sha256_of

# What plain tensors and bytes name in a pickle; anything else counts as code.
_PLAIN_GLOBAL = re.compile(
    r"collections\.OrderedDict|_codecs\.encode|torch\.\w*Storage"
    r"|torch\._utils\._rebuild_(tensor_v2|parameter)"
)


def load_pretrained(backbone: nn.Module, name: str, *, source: str, folder: Path) -> str:
    """Load weights into `backbone`, of that `name`, in place; returns their provenance.

    `source` is none; imagenet: the published file in `folder`, downloaded into it when absent; or
    the path of a .safetensors, .pth or .pt file, published or a classifier of this library, whose
    backbone is then taken. The provenance holds the file's sha256 and name. Raises WeightsError,
    the backbone untouched, when the file is absent, broken, unsafe, or another backbone's.
    """
    entry = find_backbone(name)
    if source == "none":
        return "none"
    published = source == "imagenet"
    if not published:
        path = find_weights(source, folder)
    elif isinstance(entry.pretrained, HubWeights):
        return load_from_hub(backbone, entry.pretrained)
    else:
        path = find_published(entry.pretrained, folder)
    weights = _take_backbone(read_weights(path), entry)
    _require_same_keys(backbone.state_dict(), weights, name=name, path=path)
    backbone.load_state_dict(weights, strict=False)
    return f"{'imagenet' if published else 'file'} sha256:{sha256_of(path)} from {path.name}"


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors, .pth or .pt file, by name, on the CPU.

    Raises WeightsError; no code in the file is executed.
    """
    require_weights_file(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pth", ".pt"):
        return _read_pickle(path)
    raise WeightsError(f"{path}: weights are .safetensors, .pth or .pt files")


def require_weights_file(path: Path) -> None:
    """Raises WeightsError for a file that is absent, unreadable or plainly no weights."""
    if path.is_dir():
        raise WeightsError(f"{path} is a folder, not a file of weights")
    try:
        with open_file(path) as file:
            start = file.read(256).lstrip().lower()
    except FileNotFoundError as error:
        # The published files of every backbone want the scaling that is called imagenet.
        raise WeightsError(
            f"no weights at {path}, nor of that name in weights/imagenet; put the file there or "
            "name it with --pretrained PATH; --set model.pretrained=imagenet "
            "--set image.normalize=imagenet downloads the published ones; --pretrained none "
            "trains without"
        ) from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    if not start:
        raise WeightsError(f"{path} is empty: truncated on its way")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(f"{path} is a web page (HTML), not weights; download it again")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a Git LFS pointer, not weights; fetch it with git lfs pull")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        cut = re.search("too small|invalid header length|incomplete", str(error))
        reason = "is truncated" if cut else "is no safetensors file"
        raise WeightsError(f"{path} {reason} ({_one_line(error)})") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's protocol; our line says enough
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        culprits = _unsafe_globals(path, str(error))
        if culprits:
            raise WeightsError(
                f"{path}: unsafe pickle: {', '.join(culprits[:3])}; nothing was loaded or run "
                "(weights are a plain state_dict)"
            ) from None
        raise _unreadable(path, error) from error
    except Exception as error:  # torch's readers raise whatever they stumble over
        raise _unreadable(path, error) from error
    return _require_tensors(weights, path)


def _unreadable(path: Path, error: Exception) -> WeightsError:
    with path.open("rb") as file:
        start = file.read(2)
    # A zip archive (torch >= 1.6) or a pickle: the right kind of file, then.
    begun = start in (b"PK", b"P") or start.startswith(b"\x80")
    reason = "is truncated or damaged" if begun else "is no PyTorch file"
    return WeightsError(f"{path} {reason} ({_one_line(error)})")


def _unsafe_globals(path: Path, message: str) -> list[str]:
    """The globals that a refused pickle names and plain tensors do not, torch's own last.

    torch's message and its get_unsafe_globals_in_checkpoint name them only in pickle protocol 2,
    the latter only in its zip archives: of old .pth files and plain pickles it names none.
    """
    names = re.findall(r"GLOBAL (\S+)", message)[:1]
    # What cannot be read any further names nothing more; the file is refused either way.
    with contextlib.suppress(Exception), _open_pickle(path) as stream:
        for _ in range(4):  # a .pth of before torch 1.6 is several pickles in a row
            names.extend(_named_globals(stream))
    names = [name for name in names if not _PLAIN_GLOBAL.fullmatch(name)]
    return sorted(dict.fromkeys(names), key=lambda name: name.startswith("torch."))


def _open_pickle(path: Path) -> IO[bytes]:
    if not zipfile.is_zipfile(path):
        return path.open("rb")
    archive = zipfile.ZipFile(path)
    return archive.open(next(n for n in archive.namelist() if n.endswith("data.pkl")))


def _named_globals(stream: IO[bytes]) -> Iterator[str]:
    texts: list[str] = []
    for opcode, value, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL":
            yield str(value).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif isinstance(value, str):
            texts.append(value)


def _require_tensors(weights: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(weights, dict) and isinstance(weights.get("state_dict"), dict):
        weights = weights["state_dict"]
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise WeightsError(f"{path} holds no table of tensors; save model.state_dict()")
    return {str(key): value for key, value in weights.items()}


def _take_backbone(weights: dict[str, Tensor], entry: Backbone) -> dict[str, Tensor]:
    """The backbone's tensors under its own names, from any of the layouts that are accepted."""
    bare = {key.removeprefix("module."): value for key, value in weights.items()}
    if any(key.startswith("backbone.") for key in bare):
        # A classifier of ours: one recipe starts from another's weights.
        named = {key.removeprefix("backbone."): value for key, value in bare.items()}
        ignored: tuple[str, ...] = ("head.", "gem.")
    else:
        keys = [*bare] if entry.reorder is None else entry.reorder([*bare])
        named = {entry.rename(key): value for key, value in zip(keys, bare.values(), strict=True)}
        ignored = entry.ignored
    return {key: value for key, value in named.items() if not key.startswith(ignored)}


def _require_same_keys(
    ours: dict[str, Tensor], theirs: dict[str, Tensor], *, name: str, path: Path
) -> None:
    # Files older than torch 0.4.1 lack BatchNorm's counter, which nothing here reads.
    needed = {key for key in ours if not key.endswith("num_batches_tracked")}
    wrong = [f"missing {key}" for key in ours if key in needed - theirs.keys()]
    wrong += [f"unexpected {key}" for key in theirs if key not in ours]
    wrong += [
        f"{key} is {tuple(theirs[key].shape)}, not {tuple(ours[key].shape)}"
        for key in ours
        if key in theirs and theirs[key].shape != ours[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise WeightsError(f"{path} does not fit {name}: {'; '.join(wrong[:3])}{more}")


def find_weights(source: str, folder: Path) -> Path:
    """The path as given, or a file of its name in `folder`, where weights are kept."""
    path, in_folder = Path(source).expanduser(), folder / Path(source).name
    return in_folder if in_folder.is_file() and not path.exists() else path


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
