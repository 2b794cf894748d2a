"""
What an earlier version left in Redis, frozen: written by `python -m tests.frozen` with the code of that day, read by
tests/journey/test_upgrade.py with today's. Written anew only when the format of records changes on purpose, under
another number; the old file stays, and is still read.
"""
