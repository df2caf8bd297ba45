"""The report as one record: schema, build, warnings, summary."""
