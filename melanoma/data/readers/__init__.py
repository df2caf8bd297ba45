"""From a data folder to a LesionTable: one reader a layout, listed in catalog.READERS."""
