"""Why a command to a pool cannot be done."""


class SerfError(Exception):
    """The text is what Consul's user sees."""
