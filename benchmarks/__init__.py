"""
What Taskpost costs, measured against floors on the same machine in the same run. `scripts/bench` starts it.

Owns how to measure and what the goals are; refuses to be part of the product: nothing in `service` or `workers`
imports it. The fact to know: machines differ and are shared, so ratios count, and both sides of each are measured
in turns within one run.
"""
