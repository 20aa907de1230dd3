"""One server for the services in Python: each request does one piece of work. It says when it is ready."""

import os
from collections.abc import Callable
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Response

PORT = int(os.environ.get("PORT", "0"))


def serve(work: Callable[[], str]) -> None:
    @asynccontextmanager
    async def lifespan(_app: FastAPI):
        print(f"ready on {PORT}", flush=True)
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    def answer() -> Response:
        return Response(work())

    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="error")
