"""The library's verbs: functions that return records and never print."""
