"""Taskpost: POST a task over HTTP, and it gets done. The service: store, scheduler, API, command line."""

__version__ = "0.1.0"
