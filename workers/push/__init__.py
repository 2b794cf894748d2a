"""
Calls URLs: the request of a task, the connection, and what the answer means.

`client.PushClient` is the only door. Nothing here follows redirects, reads a proxy from the environment,
keeps cookies, or reads more of an answer than it may keep.
"""
