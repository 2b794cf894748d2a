"""
Chaos: real clients and workers under random faults, and a checker that accepts no lost, made-up or unexplained run.

`python -m tests.chaos` runs it (scripts/chaos); docs/chaos.md says what it does and how to read it.
"""
