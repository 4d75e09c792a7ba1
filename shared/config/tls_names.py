"""TLS cipher suites by the names that Go, and with it Consul's config, gives them."""

from __future__ import annotations

from shared.config.values import Values
from shared.gotext.quoting import quote

CIPHER_SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": 0xC009,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": 0xC023,
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": 0xC02B,
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": 0xC00A,
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": 0xC02C,
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": 0xC013,
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": 0xC027,
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": 0xC02F,
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": 0xC014,
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": 0xC030,
}

VERSIONS = ("tls10", "tls11", "tls12", "tls13")


def parse_cipher_suites(values: Values) -> tuple[int, ...]:
    """IANA numbers of the suites in tls_cipher_suites. An unknown name is noted as an error."""
    names = values.text("tls_cipher_suites").strip()
    suites: list[int] = []
    for name in names.split(",") if names else ():
        if name not in CIPHER_SUITES:
            reason = f"unsupported cipher {quote(name)}"
            values.errors.append(f"tls_cipher_suites: invalid tls cipher suites: {reason}")
            break
        suites.append(CIPHER_SUITES[name])
    return tuple(suites)
