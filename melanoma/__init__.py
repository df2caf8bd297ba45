"""K-fold training of skin-lesion classifiers, honest reports, one melanoma probability."""

import os

# Before torch is imported: OpenMP threads that spin long while they wait bring two processes that
# share a few cores nearly to a halt; short spins cost a process that is alone next to nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
