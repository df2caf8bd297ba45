"""The recipe of a run: one YAML file, read strictly."""
