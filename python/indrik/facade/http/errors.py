"""What Gunicorn raises for requests it refuses. Indrik's front refuses them before a worker sees them,
so these are here to be imported and caught."""

from __future__ import annotations

from indrik.facade._finder import original


class ParseException(Exception):
    """A request that cannot be read."""


class NoMoreData(IOError):
    """The client has gone."""

    def __init__(self, buf: object = None) -> None:
        super().__init__(buf)
        self.buf = buf


class ConfigurationProblem(ParseException):
    """The request does not fit the configuration."""

    code = 500


class InvalidRequestLine(ParseException):
    """A bad request line."""

    code = 400


class InvalidRequestMethod(ParseException):
    """A bad method."""


class ExpectationFailed(ParseException):
    """An unknown expectation."""


class InvalidHTTPVersion(ParseException):
    """A bad version."""


class InvalidHeader(ParseException):
    """A bad header."""


class ObsoleteFolding(ParseException):
    """A header on more than one line."""


class InvalidHeaderName(ParseException):
    """A bad name of a header."""


class InvalidResponseHeader(InvalidHeader):
    """A bad header of a response."""


class InvalidResponseHeaderName(InvalidHeaderName):
    """A bad name of a response's header."""


class UnsupportedTransferCoding(ParseException):
    """An unknown transfer coding."""

    code = 501


class InvalidChunkSize(ParseException):
    """A bad size of a chunk."""


class ChunkMissingTerminator(ParseException):
    """A chunk without its end."""


class InvalidChunkExtension(ParseException):
    """A bad extension of a chunk."""


class LimitRequestLine(ParseException):
    """A request line that is too long."""


class LimitRequestHeaders(ParseException):
    """Headers that are too large or too many."""


class InvalidProxyLine(ParseException):
    """A bad line of the PROXY protocol."""

    code = 400


class InvalidProxyHeader(ParseException):
    """A bad header of the PROXY protocol."""

    code = 400


class ForbiddenProxyRequest(ParseException):
    """The PROXY protocol from somebody who may not use it."""

    code = 403


class InvalidSchemeHeaders(ParseException):
    """Headers that contradict each other about the scheme."""


def __getattr__(name: str) -> object:
    return original(__name__, name)
