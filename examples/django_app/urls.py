"""Which view answers which path."""

from __future__ import annotations

from django.urls import path

from django_app import views

urlpatterns = [
    path("", views.hello),
    path("json", views.as_json),
    path("echo", views.echo),
    path("upload", views.upload),
    path("form", views.form),
    path("stream", views.stream),
    path("events", views.events),
    path("slow", views.slow),
    path("file", views.download),
    path("error", views.error),
]
