"""The folder of one fold's run: its files, resume state, signals, and surveys of many."""
