"""Read a server's metrics as a scraper does, with Prometheus' own parsers."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Exemplar

from support.admin import Admin

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"


@dataclass
class Numbers:
    """What one scrape gave: each sample's name, labels and number."""

    samples: list[tuple[str, dict[str, str], float]]

    def of(self, name: str, **labels: str) -> float:
        """All samples of this name with these labels, added up."""
        return sum(number for _, number in self.each(name, **labels))

    def each(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        return [
            (have, number) for sample, have, number in self.samples if sample == name and labels.items() <= have.items()
        ]

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """The same by the values of a label; those that are 0 are left out."""
        sums: dict[str, float] = {}
        for have, number in self.each(name, **labels):
            sums[have[label]] = sums.get(have[label], 0) + number
        return {value: number for value, number in sums.items() if number}


def exemplars(admin: Admin, name: str) -> list[tuple[dict[str, str], Exemplar]]:
    """The labels of a histogram's buckets that have an exemplar, and these."""
    answered = admin.ask("/metrics", headers={"Accept": OPENMETRICS})
    families = parse_openmetrics(answered.body.decode())
    samples = (sample for family in families for sample in family.samples if sample.name == f"{name}_bucket")
    return [(dict(sample.labels), sample.exemplar) for sample in samples if sample.exemplar]


def scrape(admin: Admin, accept: str = "text/plain") -> Numbers:
    """One scrape, read by the parser of its format."""
    answered = admin.ask("/metrics", headers={"Accept": accept})
    assert answered.status == 200, answered
    parse = parse_openmetrics if "openmetrics" in answered.headers["content-type"] else parse_text
    families = list(parse(answered.body.decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family comes twice"
    return Numbers(
        [(sample.name, dict(sample.labels), sample.value) for family in families for sample in family.samples]
    )
