"""
Taskpost beside other task queues: the same tasks, the same machine, the same server program, in turns.

Owns what each peer is and how it runs (`definitions`, `programs/`, `bullmq/`), with its exact versions; refuses to
choose what looks good: a peer runs as its own guide advises or as it was fastest of what was tried, and one that fails
is shown with its error. The fact to know: peers are installed into `.peers/` at their first use, each into an
environment of its own.
"""
