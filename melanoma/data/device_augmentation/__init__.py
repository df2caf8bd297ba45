"""The steps of a recipe's `augment` for a whole batch at once, on the device that trains."""
