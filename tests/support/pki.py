"""A certificate authority of a test, and the files that it signed."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pki:
    """An authority, and files that it signed."""

    authority: trustme.CA
    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.directory / "server.pem"

    @property
    def key(self) -> Path:
        return self.directory / "server.key"

    def renew(self) -> None:
        """A new certificate with a new key, put in place as certbot does it."""
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        for path, data in ((self.key, issued.private_key_pem.bytes()), (self.certificate, chain)):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(data)
            os.replace(fresh, path)

    def client(self, **options: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if options.get("with_certificate"):
            self.authority.issue_cert("client@example.org").configure_cert(context)
        return context

    def flags(self) -> list[str]:
        return ["--certfile", str(self.certificate), "--keyfile", str(self.key)]
