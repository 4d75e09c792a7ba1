"""Log lines that peers can cause: made printable, and limited in number, so that a flood of junk fills no disk."""

from shared.log import Logger

_PER_SECOND = 20


class LogGate:
    """Lets info and debug lines through; of warnings and errors a limited number per second."""

    def __init__(self, logger: Logger) -> None:
        self.logger = logger
        self._second = 0.0
        self._written = self._suppressed = 0

    def write(self, level: str, text: str, now: float) -> None:
        if level in ("warn", "error"):
            if now - self._second >= 1.0:
                if self._suppressed:
                    self.logger.warn(f"memberlist: {self._suppressed} more lines like these were left out")
                self._second, self._written, self._suppressed = now, 0, 0
            if self._written >= _PER_SECOND:
                self._suppressed += 1
                return
            self._written += 1
        getattr(self.logger, level)(printable(text))


def printable(text: str) -> str:
    """Peers choose their names: line breaks, control characters and broken UTF-8 are shown as escapes."""
    if text.isprintable():
        return text
    return text.encode("unicode_escape", "surrogatepass").decode("ascii")
