"""sockaddr: addresses of this host by template, as go-sockaddr: '{{ GetInterfaceIP "eth0" }}'.

expand(text) -> str                  templates replaced by what they evaluate to; raises TemplateError
interfaces.interface_addresses()     the addresses of all interfaces, in the kernel's order"""

from __future__ import annotations

from shared.config.sockaddr.template import TemplateError, expand

__all__ = ["TemplateError", "expand"]
