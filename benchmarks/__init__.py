"""One script per claim of README's performance table. Ratios, measured in one run."""
