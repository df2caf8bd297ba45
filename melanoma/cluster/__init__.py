"""Work that outgrows one machine: folds, sweeps and scoring on Ray (the extra [ray])."""
