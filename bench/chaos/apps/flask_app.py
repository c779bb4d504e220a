"""The Flask application of the fault harness."""

from __future__ import annotations

import time

import common
import model
import state
from flask import Flask, Response, request

common.load()
app = Flask(__name__)
app.wsgi_app = common.RecordWsgi(app.wsgi_app)


def text(words: str, status: int = 200) -> Response:
    return Response(words, status, mimetype="text/plain")


def answered() -> Response:
    number = request.args.get("n", "0")
    if request.method == "POST" and request.get_data(as_text=True) != number:
        return text("another request's body", 400)
    return text(common.answer(number))


@app.route("/echo", methods=["GET", "POST"])
def echo() -> Response:
    return answered()


@app.route("/wait", methods=["GET", "POST"])
def wait() -> Response:
    response = answered()
    time.sleep(0.002)
    return response


@app.get("/work")
def work() -> Response:
    common.work()
    return answered()


@app.get("/hold")
def hold() -> Response:
    time.sleep(0.5)
    return answered()


@app.get("/leak")
def leak() -> Response:
    common.leak()
    return answered()


@app.get("/model")
def read_model() -> Response:
    model.look_up(hash(request.args.get("n", "0")))
    return answered()


@app.get("/stuck/<how>")
def stuck(how: str) -> Response:
    common.STUCK[how]()
    return answered()


@app.get("/warm")
def warm() -> Response:
    return text("warm", state.WARM_STATUS)
