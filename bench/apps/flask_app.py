"""Flask: one route that answers a small JSON object."""

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/")
def index() -> Response:
    return jsonify(message="Hello, World!")
