"""The thin HTTP service over sealed bundles, and its page. All skill stays in melanoma."""
