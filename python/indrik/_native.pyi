"""The compiled module (crates/indrik-native); what it has is documented there."""

from typing import Any

def __getattr__(name: str) -> Any: ...
