"""
The only place that knows inbound HTTP.

`app.Api` is the ASGI application, `web.serve` runs it; one file for each resource. Nothing here knows Redis.
"""
