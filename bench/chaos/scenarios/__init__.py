"""Every scenario, in the order of the table: name, title, function. `run(server, rows, full)` fills the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..report import Rows
from . import deaths, floods, http2, incidents, memory, readers, recycling, reloads, stops, stuck, upgrades, uploads


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    run: Callable[[str, Rows, bool], None]


ALL = [
    Scenario("reload", "reloads under 64 keep-alive connections, the import takes 2 s", reloads.good),
    Scenario("broken_reload", "reloads of code that does not boot, under load", reloads.broken),
    Scenario("max_requests", "max_requests = 100 under full load, 4 workers", recycling.max_requests),
    Scenario("leak", "1 MiB leaked a request, soft limit 200 MiB, 4 workers", recycling.leak),
    Scenario("deaths", "workers killed in four ways under GETs and POSTs", deaths.run),
    Scenario("stuck", "requests that do not end, under load", stuck.run),
    Scenario("readers", "20 clients that do not read 8 MiB, beside ordinary requests", readers.run),
    Scenario("uploads", "64 clients upload 10 B to 300 kB and read files, heads of up to 4 kB", uploads.run),
    Scenario("http2", "HTTP/2: streams, resets and closed windows beside reloads and deaths", http2.run),
    Scenario("floods", "16 WebSocket clients that send tiny frames and read nothing", floods.run),
    Scenario("incidents", "incidents alone and in pairs, and what is said in between", incidents.run),
    Scenario("preload", "8 workers, a 440 MiB model loaded at preload", memory.preload),
    Scenario("upgrade", "upgrades by USR2 under load", upgrades.run),
    Scenario("term", "TERM under load with 1,000 connections in the accept queue", stops.term),
    Scenario("kill_supervisor", "kill -9 of the supervisor", stops.kill_supervisor),
]
