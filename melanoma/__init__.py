"""K-fold training of skin-lesion classifiers, honest reports, one melanoma probability."""
