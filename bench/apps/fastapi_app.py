"""FastAPI: one route that answers a small JSON object."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def index() -> dict[str, str]:
    return {"message": "Hello, World!"}
