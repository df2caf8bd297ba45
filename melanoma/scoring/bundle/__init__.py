"""The sealed bundle: read, sealed, checked by its golden image, shipped."""
