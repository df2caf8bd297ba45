"""From photographs and a table to an array, folds and batches."""
