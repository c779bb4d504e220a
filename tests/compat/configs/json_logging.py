"""Both logs as JSON, one object a line, with the atoms of the access log as keys."""

import json
import logging


class JsonFormatter(logging.Formatter):
    def format(self, record):
        line = {"logger": record.name, "level": record.levelname}
        if record.name == "gunicorn.access":
            line |= {"status": int(record.args["s"]), "path": record.args["U"], "method": record.args["m"]}
            line["agent"] = record.args["a"]
        else:
            line["message"] = record.getMessage()
        return json.dumps(line)


workers = 1
accesslog = "-"
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonFormatter}},
    "handlers": {
        "out": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"},
        "err": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"},
    },
    "root": {"level": "INFO", "handlers": []},
    "loggers": {
        "gunicorn.access": {"level": "INFO", "handlers": ["out"], "propagate": False},
        "gunicorn.error": {"level": "INFO", "handlers": ["err"], "propagate": False},
    },
}
