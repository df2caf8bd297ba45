"""Forward and backward as CUDA graphs: a GPU that is fed kernel by kernel waits for the host.

A network of this size launches some 1,400 kernels a batch. Where launching them takes longer than
computing them, only a graph, which is launched as one, keeps the GPU busy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from melanoma.data.transforms import Normalize, send, to_tensor
from melanoma.models.classifier import Classifier
from melanoma.training.ranks import ALONE, Ranks
from melanoma.training.state import TrainingState

Passes = Callable[[], Tensor]
RecordGraph = Callable[[Passes, Callable[[], None]], tuple[Callable[[], object], Tensor]]
MOST_SHAPES = 4  # an epoch has two sizes of batches; each graph holds a batch's activations


@dataclass(frozen=True)
class _Graph:
    """A recorded batch: what goes in, what starts it, and what comes out, always in one place."""

    pixels: Tensor
    targets: Tensor
    replay: Callable[[], object]
    loss: Tensor
    gradients: list[Tensor | None]


class GraphedPasses:
    """The mean loss of a batch and its gradients, recorded once a shape and replayed.

    A call gives the loss, whose place the next call reuses, and leaves the gradients in the
    parameters. Recording runs the network several times and leaves no trace in its statistics or in
    the random numbers. A stage of training that frees other parameters has graphs of its own.
    """

    def __init__(
        self,
        state: TrainingState,
        loss: Callable[[Tensor, Tensor], Tensor],
        network: Callable[[Tensor], Tensor],
        *,
        normalize: Normalize,
        precision: torch.dtype,
        record: RecordGraph,
    ) -> None:
        self.state, self.loss, self.network, self.record = state, loss, network, record
        self.normalize, self.precision = normalize, precision
        self.classifier: Classifier = state.classifier
        self.device = next(self.classifier.parameters()).device
        self._graphs: dict[torch.Size, _Graph] = {}
        self._stage = state.stage

    def __call__(self, pixels: Tensor, targets: Tensor) -> Tensor:
        """The loss of (B, S, S, 3) uint8 pixels against (B,) targets."""
        if self.state.stage != self._stage:
            self._graphs, self._stage = {}, self.state.stage
        graph = self._graphs.get(pixels.shape)
        if graph is None:
            if len(self._graphs) == MOST_SHAPES:
                return self._passes(send(pixels, self.device), send(targets, self.device))
            graph = self._graphs[pixels.shape] = self._record(pixels, targets)
        graph.pixels.copy_(pixels, non_blocking=True)
        graph.targets.copy_(targets, non_blocking=True)
        graph.replay()
        for parameter, gradient in zip(self._parameters(), graph.gradients, strict=True):
            parameter.grad = gradient
        return graph.loss

    def _record(self, pixels: Tensor, targets: Tensor) -> _Graph:
        static, static_targets = (
            pixels.to(self.device, copy=True),
            targets.to(self.device, copy=True),
        )
        parameters = self._parameters()

        def forget() -> None:
            for parameter in parameters:
                parameter.grad = None

        buffers = [buffer.clone() for buffer in self.classifier.buffers()]
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            replay, loss = self.record(lambda: self._passes(static, static_targets), forget)
        for buffer, before in zip(self.classifier.buffers(), buffers, strict=True):
            buffer.copy_(before)
        return _Graph(static, static_targets, replay, loss, [p.grad for p in parameters])

    def _passes(self, pixels: Tensor, targets: Tensor) -> Tensor:
        inputs = to_tensor(pixels, normalize=self.normalize, device=self.device)
        # What autocast keeps from pass to pass would be freed under the graph.
        with torch.autocast(
            self.device.type,
            dtype=self.precision,
            enabled=self.precision != torch.float32,
            cache_enabled=False,
        ):
            logits = self.network(inputs)
        value = self.loss(logits.float(), targets)
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [p for p in self.classifier.parameters() if p.requires_grad]


def record_on_cuda(
    passes: Passes, forget: Callable[[], None]
) -> tuple[Callable[[], object], Tensor]:
    """The passes as a CUDA graph: how it is replayed, and where its loss will be.

    `forget` drops the gradients, so that those of the graph lie in its own memory.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # cuDNN chooses its algorithms, libraries take their workspaces
            forget()
            passes()
    torch.cuda.current_stream().wait_stream(side)
    forget()
    graph = torch.cuda.CUDAGraph()
    # The loader's thread pins memory meanwhile, which by default would break the recording.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        loss = passes()
    return graph.replay, loss


def make_graphs(
    state: TrainingState,
    loss: Callable[[Tensor, Tensor], Tensor],
    network: Callable[[Tensor], Tensor] | None,
    *,
    precision: torch.dtype,
    ranks: Ranks = ALONE,
) -> GraphedPasses | None:
    """The recipe's graphs on a GPU; None elsewhere, for float16, whose scale changes, for SAM,
    which passes over a batch twice, and for several ranks, from which they would keep gradients."""
    recipe, classifier = state.recipe, state.classifier
    device = next(classifier.parameters()).device
    asked = recipe.training.cuda_graphs and not recipe.optimizer.sam_rho
    asked = asked and not recipe.training.checkpointing  # it restores generators as it recomputes
    if device.type != "cuda" or not asked or state.scaler.is_enabled() or ranks.world > 1:
        return None
    return GraphedPasses(
        state,
        loss,
        classifier if network is None else network,
        normalize=recipe.image.normalize,
        precision=precision,
        record=record_on_cuda,
    )
