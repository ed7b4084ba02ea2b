"""The service: scores over HTTP and WebSocket, a history of them, and a page for people. `mtqnet serve` runs it.

    app.py        joins the parts; state.py what they share while the service runs
    routes/       one file a group of endpoints; schemas.py what they take and give
    stream.py     the WebSocket
    pool.py       bounded jobs in processes of their own; worker.py what runs there
    history/      what was scored, in SQLite or PostgreSQL
    guard.py      who may ask, how much, and the headers of every answer; keys.py, uploads.py, problems.py
    page/         the page, plain modules without a build

Needs the extra `serve`; everything else of the package works without.
"""
