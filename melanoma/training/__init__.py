"""The loop, its schedule, its checkpoints: from an array and folds to a FoldRun."""
