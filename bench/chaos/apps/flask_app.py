"""The Flask application of the fault harness."""

from __future__ import annotations

import hashlib
import time

import common
import model
import state
from flask import Flask, Response, request

common.load()
site = Flask(__name__)
app = common.RecordWsgi(site)


def text(words: str, status: int = 200) -> Response:
    return Response(words, status, mimetype="text/plain")


def answered() -> Response:
    number = request.args.get("n", "0")
    if request.method == "POST" and request.get_data(as_text=True) != number:
        return text("another request's body", 400)
    return text(common.answer(number))


@site.route("/echo", methods=["GET", "POST"])
def echo() -> Response:
    return answered()


@site.route("/wait", methods=["GET", "POST"])
def wait() -> Response:
    response = answered()
    time.sleep(0.002)
    return response


@site.get("/work")
def work() -> Response:
    common.work()
    return answered()


@site.get("/hold")
def hold() -> Response:
    time.sleep(0.5)
    return answered()


@site.get("/large")
def large() -> Response:
    return Response(common.large(request.args["n"]), mimetype="application/octet-stream")


@site.post("/digest")
def digest() -> Response:
    return text(hashlib.sha256(request.get_data()).hexdigest())


@site.get("/file")
def file() -> Response:
    wrapped = request.environ["wsgi.file_wrapper"](common.file(request.args["n"]))
    return Response(wrapped, mimetype="application/octet-stream", direct_passthrough=True)


@site.get("/leak")
def leak() -> Response:
    common.leak()
    return answered()


@site.get("/model")
def read_model() -> Response:
    model.look_up(hash(request.args.get("n", "0")))
    return answered()


@site.get("/stuck/<how>")
def stuck(how: str) -> Response:
    common.STUCK[how]()
    return answered()


@site.get("/warm")
def warm() -> Response:
    return text("warm", state.WARM_STATUS)
