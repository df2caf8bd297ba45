"""Joining the processes that torchrun has started: who this one is, its device, how it leaves."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from melanoma.devices import resolve_device
from melanoma.errors import DivergedError, InterruptedRun
from melanoma.training.ranks import ALONE, Ranks

# The first process may embed a set, or save to a slow disk, while the others wait. One that has
# died is noticed at once, by its connection.
_WAIT = timedelta(hours=2)
_LOST = ("connection closed", "connection reset", "broken pipe", "gloo", "nccl", "peer")


def is_torchrun() -> bool:
    """Whether torchrun has started this process as one of several."""
    return dist.is_torchelastic_launched() and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextlib.contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """This process among those of torchrun; alone without it.

    What all processes raise, the first one says, and the others leave after it with its exit code;
    they print nothing but errors of their own. Raises InterruptedRun when another process has
    ended, RecipeError for a device that is not there.
    """
    if not is_torchrun():
        yield ALONE
        return
    ranks = _join(device)
    with contextlib.ExitStack() as quiet:
        if not ranks.is_first:
            nowhere = quiet.enter_context(Path(os.devnull).open("w"))
            quiet.enter_context(contextlib.redirect_stdout(nowhere))
            quiet.enter_context(contextlib.redirect_stderr(nowhere))
        try:
            yield ranks
        except (InterruptedRun, DivergedError, SystemExit) as error:
            if ranks.is_first:
                raise
            _leave_after_first(ranks)
            raise SystemExit(_code_of(error)) from None
        except RuntimeError as error:
            if not is_lost(error):
                raise
            if not ranks.is_first:
                raise SystemExit(128 + signal.SIGTERM) from None
            raise InterruptedRun(
                "another process of this run has ended, and so does this one; the state that was "
                "saved last is there, the same command resumes",
                signal_number=signal.SIGTERM,
            ) from error
    ranks.wait()
    dist.destroy_process_group()


def is_lost(error: BaseException) -> bool:
    """Whether the error says that another process can no longer be reached."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(word in text for word in _LOST)


def _join(name: str) -> Ranks:
    device = resolve_device(name)
    local, here = (int(os.environ[key]) for key in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    rank, world = (int(os.environ[key]) for key in ("RANK", "WORLD_SIZE"))
    backend = "gloo"
    if device.type == "cuda":
        device = torch.device("cuda", local % torch.cuda.device_count())
        torch.cuda.set_device(device)
        # NCCL wants a GPU for each; where they share one, gloo passes the gradients.
        if here <= torch.cuda.device_count():
            backend = "cpu:gloo,cuda:nccl"
    if here == world:  # all on this machine: nothing of it goes over a network
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(backend, timeout=_WAIT)
    return Ranks(rank, world, dist.new_group(backend="gloo", timeout=_WAIT), device)


def _code_of(error: InterruptedRun | DivergedError | SystemExit) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    return error.exit_code


def _leave_after_first(ranks: Ranks) -> None:
    """torchrun ends all processes when one ends with an error; the first is yet to say its own."""
    with contextlib.suppress(RuntimeError):
        ranks.wait()
