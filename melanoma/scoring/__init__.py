"""A sealed bundle and the Scorer over it: from a photograph to a melanoma probability."""
