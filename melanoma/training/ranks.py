"""Ranks: the processes of torchrun that train one fold together, and what passes between them.

Every process has the whole plan of batches and takes its part of each; DistributedDataParallel
averages the gradients, so that a step is the one that a single process would make. The first
process alone reads and writes the run's folder, judges an epoch and speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from melanoma.data.batches import Batch, Plan
from melanoma.devices import seed_everything
from melanoma.errors import MelanomaError, RecipeError
from melanoma.models.classifier import Classifier
from melanoma.types import Floats, Integers

Result = TypeVar("Result")


@dataclass(frozen=True)
class Ranks:
    """This process, number `rank` of `world`. Alone, nothing is passed on and nobody waited for.

    `objects` is the group that passes what lies in memory, whatever passes between GPUs; `device`
    is this process's own, None where the caller names one.
    """

    rank: int = 0
    world: int = 1
    objects: Any = None
    device: torch.device | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process reads, writes and speaks."""
        return self.rank == 0

    def from_first(self, work: Callable[[], Result]) -> Result:
        """What `work` gives in the first process, in all of them.

        Raises there whatever it raises, and in the others SystemExit with its exit code.
        """
        if self.world == 1:
            return work()
        box: list[Any] = [None, None]
        failure: BaseException | None = None
        if self.is_first:
            try:
                box[0] = work()
            except BaseException as error:
                failure = error
                box[1] = error.exit_code if isinstance(error, MelanomaError) else 1
        dist.broadcast_object_list(box, src=0, group=self.objects)
        if failure is not None:
            raise failure
        if box[1] is not None:
            raise SystemExit(box[1])
        result: Result = box[0]
        return result

    def in_turn(self, work: Callable[[], Result]) -> Result:
        """`work` by the first process and then by the others, which find what it has made."""
        results: list[Result] = []
        self.from_first(lambda: results.append(work()))
        return results[0] if self.is_first else work()

    def gathered(self, value: Result) -> list[Result]:
        """The value of each process, in their order."""
        values: list[Any] = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(values, value, group=self.objects)
        return values

    def share_out(self, plans: list[Plan]) -> list[Plan]:
        """This process's part of each batch. Raises RecipeError for a batch of fewer images than
        there are processes."""
        return plans if self.world == 1 else [self._part(plan) for plan in plans]

    def _part(self, plan: Plan) -> Plan:
        whole = len(plan.rows)
        own = np.array_split(np.arange(whole), self.world)[self.rank]
        if whole < self.world:
            raise RecipeError(
                f"a batch of {whole} images cannot be shared by {self.world} processes; take fewer "
                "(--nproc-per-node), or a larger training.batch_size"
            )
        # The gradients' plain mean over the processes is then the mean over the batch's images.
        share = plan.share * len(own) * self.world / whole
        return Plan(plan.rows[own], share, plan.closes, first=int(own[0]), whole=whole)

    def seeded(self, batches: Iterable[Batch], seed: Sequence[int], start: int) -> Iterator[Batch]:
        """The batches; what the network draws for each (dropout) is this process's own, and the
        same when the run is resumed."""
        for number, batch in enumerate(batches, start):
            if self.world > 1:
                seed_everything(*seed, number, self.rank)
            yield batch

    def gradients(
        self, network: Callable[..., Any], *, averaged: bool
    ) -> AbstractContextManager[object]:
        """While a batch passes: its gradients are averaged over the processes, or only kept."""
        if averaged or not isinstance(network, DistributedDataParallel):
            return nullcontext()
        unsynchronized: AbstractContextManager[object] = network.no_sync()
        return unsynchronized

    def mean_losses(self, losses: list[Tensor], parts: Sequence[float]) -> list[Tensor]:
        """The batches' mean losses over all processes; `parts` are the shares of this one."""
        if self.world == 1:
            return losses
        pooled = torch.stack(
            [loss.detach().float() * part for loss, part in zip(losses, parts, strict=True)]
        )
        dist.all_reduce(pooled)
        return list(pooled)

    def signalled(self, number: int | None) -> int | None:
        """The signal that any of the processes had, if one had: all of them stop together."""
        if self.world == 1:
            return number
        signal_number = torch.tensor([number or 0])
        dist.all_reduce(signal_number, dist.ReduceOp.MAX, group=self.objects)
        return int(signal_number) or None

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier(group=self.objects)

    def scored(self, rows: Integers, predict: Callable[[Integers], Floats]) -> Floats:
        """What `predict` gives for the rows: each process its part, all of them the whole."""
        if self.world == 1:
            return predict(rows)
        own = np.array_split(rows, self.world)[self.rank]
        parts = self.gathered(predict(own) if len(own) else None)
        return np.concatenate([part for part in parts if part is not None])

    def spread(self, module: nn.Module) -> None:
        """Give the module the first process's weights and buffers."""
        self._spread(module.state_dict)

    def spread_buffers(self, module: nn.Module) -> None:
        """The buffers alone, such as BatchNorm's statistics, which each process has of its own."""
        self._spread(lambda: dict(module.named_buffers()))

    @torch.no_grad()
    def _spread(self, values: Callable[[], Mapping[str, Tensor]]) -> None:
        if self.world == 1:
            return
        first_values = self.from_first(
            lambda: {key: value.cpu() for key, value in values().items()}
        )
        for key, value in values().items():
            value.copy_(first_values[key])

    def averaging(self, classifier: Classifier) -> DistributedDataParallel:
        """The classifier's logits, of images or of embeddings; going back averages gradients.

        It knows the parameters that learn now: a stage that frees others needs one of its own.
        """
        index = None if self.device is None else self.device.index
        return DistributedDataParallel(
            _Logits(classifier), device_ids=None if index is None else [index]
        )

    def own_parts(self, parts: list[Any], module: nn.Module) -> list[Any]:
        """The batches of `parts` that this process sees to renew BatchNorm's statistics: some of
        them, or its part of each where SyncBatchNorm sees all parts at once."""
        if self.world == 1:
            return parts
        if has_sync_norms(module):
            return [plan.rows for plan in self.share_out([Plan(part) for part in parts])]
        return parts[self.rank :: self.world]

    def average_norms(self, norms: Sequence[Any], module: nn.Module) -> None:
        """After own_parts: the statistics become the mean over all processes' batches."""
        if self.world == 1 or has_sync_norms(module):
            return
        for norm in norms:
            count = norm.num_batches_tracked
            own = count.clone()
            dist.all_reduce(count)
            for value in (norm.running_mean, norm.running_var):
                value.mul_(own / count)
                dist.all_reduce(value)


ALONE = Ranks()


class _Logits(nn.Module):
    """What DistributedDataParallel calls: images and embeddings by one door."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.ndim == 2:
            return self.classifier.classify(inputs)
        logits: Tensor = self.classifier(inputs)
        return logits


def has_sync_norms(module: nn.Module) -> bool:
    """Whether its BatchNorm sees the batch's parts of all processes."""
    return any(isinstance(m, nn.SyncBatchNorm) for m in module.modules())


def sync_norms(classifier: Classifier, ranks: Ranks) -> Classifier:
    """The classifier, its BatchNorm over the whole batch where that can be: on GPUs."""
    if ranks.world == 1 or ranks.device is None or ranks.device.type != "cuda":
        return classifier
    if any(type(module).__module__.startswith("timm.") for module in classifier.modules()):
        # torch's own would lose the activation that timm's norms carry.
        from timm.layers.norm_act import convert_sync_batchnorm as convert
    else:
        convert = nn.SyncBatchNorm.convert_sync_batchnorm
    synced: Classifier = convert(classifier)  # type: ignore[no-untyped-call]
    return synced
