"""K-fold training of skin-lesion classifiers, honest reports, one melanoma probability."""

import os

# Before torch is imported: OpenMP threads that spin while they wait bring two processes that share
# a few cores nearly to a halt. Sleeping threads cost a lone process next to nothing.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
