"""The service: scores over HTTP and WebSocket, a history of them, and a page for people. `mtqnet serve` runs it.

    app.py        joins the parts; state.py what they share while the service runs
    routes/       one file per group of endpoints; schemas.py defines requests and answers
    stream.py     the WebSocket
    pool.py       bounded jobs in processes of their own; worker.py what runs there
    history/      what was scored, in SQLite or PostgreSQL
    guard.py      who may ask, how much, and the headers of every answer; keys.py, uploads.py, problems.py
    page/         the page, plain modules without a build

Needs the extra `serve`.
"""

MB = 1_000_000
"""Bytes"""
