"""
When something recurs: cron, intervals, calendar intervals and single times, in any zone, as pure arithmetic.

`timing.timing_of` is the only door: it reads the timing fields of a schedule, names every fault, and answers a
`Timing` that tells the next occurrence after an instant. Nothing here reads a clock, and nothing here knows tasks.

One rule for clocks that change, in every kind that names a local time: a time that does not exist (spring) means the
first moment after the gap; one that exists twice (autumn) means the first of the two.
"""
