"""Loop: one fold's epochs, from the first or a saved state to a FoldRun."""

from __future__ import annotations

import copy
import time
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from melanoma.data.augmentation import Augmentation
from melanoma.data.batches import BatchLoader, RowSource, augment_batches
from melanoma.data.loader_workers import named_worker_errors, resolve_workers
from melanoma.devices import resolve_precision, seed_everything
from melanoma.errors import InterruptedRun
from melanoma.models.classifier import Classifier
from melanoma.recipe.recipe import Recipe
from melanoma.training.batch_targets import batch_targets
from melanoma.training.batchnorm import fold_rows, lone_images_refused, renew_statistics
from melanoma.training.bfloat16_weights import round_fold
from melanoma.training.class_balance import fold_prior_shift, make_loss
from melanoma.training.cuda_graphs import make_graphs
from melanoma.training.embedded_source import embedded_source
from melanoma.training.epoch import (
    NonFiniteError,
    diverged,
    predict_rows,
    require_finite,
    train_epoch,
)
from melanoma.training.epoch_metrics import judge, validate, watched
from melanoma.training.fold_data import FoldData, score_table
from melanoma.training.mixing import mix_batches
from melanoma.training.ranks import ALONE, Ranks
from melanoma.training.run.facts import RunStart
from melanoma.training.run.resume_state import load_state, save_state
from melanoma.training.run.run_folder import FoldRun, finish_run, write_metrics
from melanoma.training.run.signals import Interruption
from melanoma.training.source_rows import plan_fold, row_source
from melanoma.training.state import TrainingState, start_state
from melanoma.training.training_network import training_network
from melanoma.training.watchers import Watchers

# Saving may cost a tenth of the time; within an epoch it waits at least this many seconds.
_SAVE_SHARE, _SAVE_SECONDS = 0.1, 120.0


class Loop:
    """One fold's training, top to bottom in `run`."""

    def __init__(
        self,
        recipe: Recipe,
        data: FoldData,
        folder: Path,
        classifier: Classifier,
        augmentation: Augmentation,
        interruption: Interruption,
        watchers: Watchers,
        cache: Path,
        ranks: Ranks = ALONE,
    ) -> None:
        self.recipe, self.data, self.folder, self.cache = recipe, data, folder, cache
        self.augmentation, self.interruption, self.watchers = augmentation, interruption, watchers
        self.ranks = ranks
        self.device = next(classifier.parameters()).device
        # Batches have a handful of shapes, so trying cuDNN's algorithms for each pays at once.
        torch.backends.cudnn.benchmark = self.device.type == "cuda"
        self.precision = resolve_precision(recipe.training.precision, self.device)
        self.workers = resolve_workers(recipe.training.workers, self.device)
        self.state: TrainingState = start_state(
            classifier, recipe, precision=self.precision, device=self.device
        )
        # Training alone: what is validated and kept is computed as it is served.
        self.network = training_network(self.state) if ranks.world == 1 else None
        self.network_stage = -1
        self.pixels, self.targets = row_source(data), batch_targets(recipe, data)
        self.source: RowSource = self.pixels
        self.loader = BatchLoader(
            self.pixels, workers=self.workers, augmentation=augmentation, say=watchers.say
        )
        self.loss = make_loss(recipe, data, device=self.device)
        self.graphs = make_graphs(
            *(self.state, self.loss, self.network), precision=self.precision, ranks=ranks
        )
        self.prior_shift = fold_prior_shift(recipe, data)
        self.moment, self.saved_at, self.save_cost = time.monotonic(), time.monotonic(), 0.0

    def run(self, facts: RunStart) -> FoldRun:
        """Epochs until the last one or early stopping, then the results."""
        try:
            with named_worker_errors(), lone_images_refused():
                return self._run(facts)
        finally:
            self.loader.close()  # an error's traceback would keep the workers

    def _run(self, facts: RunStart) -> FoldRun:
        state = self.state
        logits = np.zeros((0, self.recipe.outputs))
        if self.recipe.is_frozen:
            facts = self._embed(facts)
        self.watchers.start(facts, state.history)
        while not state.is_over:
            try:
                self._train()
                logits = self._validate()
            except NonFiniteError as error:
                self._go_back(error)
                continue
            self._close_epoch(logits)
        run = self._finish(facts)
        self.watchers.finish(run.facts)
        return run

    def _embed(self, facts: RunStart) -> RunStart:
        """A backbone that never changes sees each image once, unless augment changes the images."""
        seconds = self.state.seconds
        self.moment = time.monotonic()
        embedded = embedded_source(
            self.recipe,
            self.data,
            self.state.classifier,
            self.cache,
            workers=self.workers,
            between=lambda: self._stop(self.interruption.signal_number),
            watchers=self.watchers,
        )
        self.state.seconds = seconds  # of the epoch, which these are not
        if embedded is None:
            return facts
        (self.source, name), self.workers = embedded, 0
        self.loader = BatchLoader(self.source, workers=0)
        return facts if name is None else facts.model_copy(update={"embeddings": name})

    def _train(self) -> None:
        state, recipe, data = self.state, self.recipe, self.data
        seed = (recipe.seed, data.fold, state.epoch)
        if state.batch == 0:
            seed_everything(*seed)
        plans = self.ranks.share_out(plan_fold(recipe, data, seed=seed))
        if self.ranks.world > 1 and self.network_stage != state.stage:  # it frees other parameters
            network = self.ranks.averaging(state.classifier)
            self.network, self.network_stage = training_network(state, network), state.stage
        advance = self.watchers.bar(len(plans), state.batch, f"epoch {state.epoch + 1}")

        def after_step() -> None:
            advance()
            self._tick()
            self._save_if_due(within_epoch=True)

        self.moment = time.monotonic()
        loaded = self.loader.load(plans, start=state.batch, seed=seed if recipe.augment else None)
        batches = augment_batches(loaded, self.device)
        mix = recipe.training.mix
        if mix is not None:
            batches = mix_batches(batches, self.targets, mix, seed=seed, start=state.batch)
        train_epoch(
            state,
            self.ranks.seeded(batches, seed, state.batch),
            targets=self.targets,
            loss=self.loss,
            planned=len(plans),
            normalize=recipe.image.normalize,
            precision=self.precision,
            clip_norm=recipe.optimizer.clip_norm,
            after_step=after_step,
            network=self.network,
            graphs=self.graphs,
            ranks=self.ranks,
        )

    def _validate(self) -> npt.NDArray[np.float64]:
        self.ranks.spread_buffers(self.state.scored_model)
        if self.recipe.training.precise_bn:
            renew_statistics(
                self.state.scored_model,
                self.pixels,
                fold_rows(self.recipe, self.data, self.recipe.training.precise_bn),
                normalize=self.recipe.image.normalize,
                batch_size=self.recipe.training.batch_size,
                workers=self.workers,
                loader=self.loader if self.source is self.pixels else None,
                between=self._count_time,
                ranks=self.ranks,
            )
        logits = self._predict(self.state.scored_model, views=1)
        return require_finite(logits, self.data.validation)

    def _close_epoch(self, logits: npt.NDArray[np.float64]) -> None:
        """Observe the epoch's metric, remember the best weights, write the line."""
        state = self.state
        target = self.data.targets[self.data.validation]
        metrics = self.ranks.from_first(
            lambda: validate(self.recipe, logits, target, shift=self.prior_shift)
        )
        metric = judge(self.recipe, metrics)
        state.schedule.observe(watched(state.schedule.rules, metrics, metric))
        is_best = state.stopping.observe(state.epoch, metric)
        if is_best:
            state.best_weights = state.weights()
        record = state.epoch_record(self.data.fold, metrics, is_best=is_best)
        state.history.append(record)
        state.next_epoch()
        if self.ranks.is_first:
            write_metrics(self.folder, state.history)
        self.watchers.epoch(record)
        self._save_if_due(within_epoch=False)

    def _finish(self, facts: RunStart) -> FoldRun:
        """Score the held-out images with the best and the last epoch; keep the recipe's choice."""
        state, keep, views = self.state, self.recipe.selection.keep, self.recipe.evaluation.views
        last = self._predict(state.scored_model, views=views)
        # A copy: an interruption from here on must save the last epoch's weights, not these.
        model = copy.deepcopy(state.scored_model).drop_auxiliary()
        model.load_state_dict(state.best_weights)
        is_last = state.stopping.best_epoch == state.epoch - 1
        best = last if is_last else self._predict(model, views=views)
        selected = {"best": (best, state.best_weights), "last": (last, state.weights())}[keep]
        if self.recipe.training.bfloat16_weights:
            model.load_state_dict(selected[1])
            round_fold(self.recipe, self.data, model, self.pixels)
            self.ranks.spread(model)
            selected = self._predict(model, views=views), model.state_dict()
        reached = facts.finish(
            **state.reached(),
            kept=keep,
            prior_shift=self.prior_shift,
            precision=str(self.precision).removeprefix("torch."),
        )
        scores = score_table(self.data, selected=selected[0], best=best, last=last)
        return self.ranks.from_first(lambda: finish_run(self.folder, selected[1], scores, reached))

    def _predict(self, model: Classifier, *, views: int) -> npt.NDArray[np.float64]:
        """(N, outputs) logits of the held-out images."""
        source = self.source if views == 1 else self.pixels
        predict = partial(
            predict_rows,
            model,
            source,
            normalize=self.recipe.image.normalize,
            views=views,
            batch_size=self.recipe.training.batch_size,
            workers=self.workers,
            loader=self.loader if source is self.source else None,
            between=self._count_time,
        )
        logits = self.ranks.scored(self.data.validation, predict)
        self._tick()
        return logits

    def _count_time(self) -> None:
        """Between batches that one process computes by itself: nobody else would stop with it."""
        if self.ranks.world == 1:
            self._tick()

    def _tick(self) -> None:
        """Count the time; stop when a signal asked for it, all processes at one step."""
        now = time.monotonic()
        self.state.seconds += now - self.moment
        self.moment = now
        self._stop(self.ranks.signalled(self.interruption.signal_number))

    def _stop(self, number: int | None) -> None:
        if number is not None:
            self._save()
            raise InterruptedRun(
                f"fold {self.data.fold} interrupted in epoch {self.state.epoch + 1}; the state is "
                "saved, the same command resumes",
                signal_number=number,
            )

    def _save_if_due(self, *, within_epoch: bool) -> None:
        wait = max(self.save_cost / _SAVE_SHARE, _SAVE_SECONDS if within_epoch else 0.0)
        if time.monotonic() - self.saved_at >= wait:
            self._save()

    def _save(self) -> None:
        start = time.monotonic()
        if self.ranks.is_first:
            save_state(self.folder, self.state.to_dict())
            self.watchers.saved()
        self.moment = self.saved_at = time.monotonic()
        self.save_cost = self.saved_at - start

    def _go_back(self, error: NonFiniteError) -> None:
        """Once: to the last saved state at half the rate. Then DivergedError names the images."""
        load = partial(load_state, self.folder, warn=self.watchers.say)
        saved = None if self.state.restored else self.ranks.from_first(load)
        if saved is None:
            names = [self.data.name_of(int(row)) for row in error.rows]
            raise diverged(error, self.data.fold, self.state.epoch, names) from error
        self.state.restore(saved)
        self.state.restored = True
        self.state.rate_scale *= 0.5
        self.state.bad_in_row = 0
        self.watchers.say(f"{error}; back to epoch {self.state.epoch + 1} at half the rate")
