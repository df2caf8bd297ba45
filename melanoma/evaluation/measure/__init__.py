"""What a report measures: performance, operating points, subgroups, shortcut baselines."""
