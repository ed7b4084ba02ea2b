"""The service: scores over HTTP and WebSocket, a history of them, and a page for people. `mtqnet serve` runs it.

    app.py        the application, and running it; state.py what its parts share; settings.py
    routes.py     the endpoints; schemas.py their requests and answers; problems.py their errors; uploads.py
    stream.py     the WebSocket
    pool.py       bounded jobs in separate processes; worker.py what runs there
    history.py    what was scored, in SQLite or PostgreSQL
    guard.py      who may use the service, and how much; keys
    page/         the page, plain modules without a build

Needs the extra `serve`.
"""

MB = 1_000_000
"""Bytes"""
