"""hcl1: HashiCorp Configuration Language, version 1, as Consul 1.8 reads it.

loads(text) -> dict   raises HclError, whose text names line and column as HashiCorp's parser does
Blocks                list of the bodies of one repeated block; loads() makes them for every `name { ... }`"""

from __future__ import annotations

from shared.config.hcl1.decode import Blocks, loads
from shared.config.hcl1.tokens import HclError

__all__ = ["Blocks", "HclError", "loads"]
