"""A report as files: report.html, MODEL_CARD.md, figures, terminal text."""
