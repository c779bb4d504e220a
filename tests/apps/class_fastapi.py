"""FastAPI, with an argument in the path and one in the query."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

app = FastAPI()


@app.get("/items/{item}")
async def items(item: int, q: str) -> dict[str, Any]:
    return {"item": item, "q": q}
