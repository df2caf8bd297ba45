"""A fold's run as TensorBoard's event files: each epoch's numbers, the recipe as a text.

Needs the extra [tensorboard], which writes them without TensorBoard itself. Without it `start`
raises; tracking.follow says so and training goes on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from melanoma.errors import MelanomaError
from melanoma.recipe.recipe import Recipe
from melanoma.training.run.facts import RunFacts, RunStart
from melanoma.training.tracking.flat import epoch_metrics
from melanoma.training.watchers import EpochRecord


class TensorboardTracker:
    """FOLDER/RECIPE/fold_N-TIME, a folder a fold and start, to be seen by `tensorboard --logdir`.

    A resumed fold is a new one that holds the earlier epochs too: each is whole in itself.
    """

    def __init__(self, place: str) -> None:
        self.folder = Path(place)
        self.name = f"TensorBoard in {place}"
        self._writer: Any = None

    def start(self, facts: RunStart, recipe: Recipe, history: list[EpochRecord]) -> None:
        """Make the folder. Raises MelanomaError without the package, OSError without the disk."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MelanomaError(
                f"tensorboardX cannot be imported ({error}); install the extra: pip install "
                "'melanoma[tensorboard]'"
            ) from error
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        folder = self.folder / recipe.name / f"fold_{facts.fold}-{time}"
        self._writer = SummaryWriter(str(folder))
        # Indented, or Markdown would make one paragraph of it.
        lines = "\n".join(f"    {line}" for line in recipe.to_yaml().splitlines())
        self._writer.add_text("recipe", lines, 0)
        for record in history:
            self.epoch(record)

    def epoch(self, record: EpochRecord) -> None:
        """Write the epoch's numbers under its number."""
        for key, value in epoch_metrics(record).items():
            self._writer.add_scalar(key, value, int(record["epoch"]))
        self._writer.flush()

    def finish(self, facts: RunFacts | None, *, status: str) -> None:
        """Write how it ended, and close the files."""
        if facts is not None:
            epochs = f"{facts.kept}: best epoch {facts.best_epoch}, last epoch {facts.last_epoch}"
            self._writer.add_text("kept", epochs, 0)
        self._writer.add_text("status", status, 0)
        self._writer.close()
