"""Django in one file."""

from __future__ import annotations

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="for tests only", MIDDLEWARE=[])


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"hello {request.GET['name']}")


urlpatterns = [path("", hello)]
application = get_wsgi_application()
