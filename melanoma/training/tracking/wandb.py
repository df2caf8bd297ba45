"""A fold's run in Weights & Biases: the recipe as configuration, each epoch's numbers.

Needs the extra [wandb]. Without it, or without an API key or its server, `start` raises;
tracking.follow says so and training goes on. WANDB_MODE=offline writes to WANDB_DIR alone.
"""

from __future__ import annotations

import os
from typing import Any

from melanoma.errors import MelanomaError
from melanoma.recipe.recipe import Recipe
from melanoma.training.run.facts import RunFacts, RunStart
from melanoma.training.tracking.flat import epoch_metrics, flatten, version_tags
from melanoma.training.watchers import EpochRecord

# What is sent is the recipe and the epochs: no code, no command line, no name of the machine.
_ENVIRONMENT = {
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB__DISABLE_META": "true",
    "WANDB__DISABLE_STATS": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_INIT_TIMEOUT": "30",
}


class WandbTracker:
    """One W&B run a fold and start, grouped by the recipe's name.

    A resumed fold is a new run that holds the earlier epochs too: each run is whole in itself.
    """

    def __init__(self, place: str) -> None:
        self.project = place
        self.name = f"W&B project {place}"
        self._run: Any = None

    def start(self, facts: RunStart, recipe: Recipe, history: list[EpochRecord]) -> None:
        """Make the run. Raises MelanomaError without wandb or an API key, wandb's errors without
        its server."""
        wandb = _import()
        self._run = wandb.init(
            project=self.project,
            group=recipe.name,
            name=f"{recipe.name} fold {facts.fold}",
            config={**dict(flatten(recipe)), **version_tags(facts)},
            mode=_mode(),
            dir=os.environ.get("WANDB_DIR"),
            reinit="create_new",
        )
        for record in history:
            self.epoch(record)

    def epoch(self, record: EpochRecord) -> None:
        """Log the epoch's numbers under its number."""
        self._run.log(epoch_metrics(record), step=int(record["epoch"]))

    def finish(self, facts: RunFacts | None, *, status: str) -> None:
        """Log how it ended, and close the run."""
        self._run.summary["status"] = status
        if facts is not None:
            self._run.summary["best_epoch"] = facts.best_epoch
            self._run.summary["last_epoch"] = facts.last_epoch
            self._run.summary["kept"] = facts.kept
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)


def _import() -> Any:
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    try:
        import wandb
    except ImportError as error:
        raise MelanomaError(
            f"it cannot be imported ({error}); install the extra: pip install 'melanoma[wandb]'"
        ) from error
    # On a terminal it would ask for the key, and training would wait for an answer.
    if _mode() == "online" and not wandb.api.api_key:
        raise MelanomaError("there is no API key: `wandb login`, or WANDB_MODE=offline")
    return wandb


def _mode() -> str:
    return os.environ.get("WANDB_MODE") or "online"
