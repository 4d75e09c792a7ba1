"""OutputBuffer: the end of what a check said. Of any amount written only the last bytes are kept."""

from __future__ import annotations


class OutputBuffer:
    """A byte string that forgets its beginning. limit: bytes kept, above 0."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.written = 0
        """Bytes seen, kept or not."""
        self._kept = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)
        self._kept += data[-self.limit :]
        if len(self._kept) > 4 * self.limit:  # not at each write: that would move the bytes over and over
            del self._kept[: -self.limit]

    def text(self) -> str:
        """What was kept. Bytes that are no UTF-8 are kept by surrogateescape."""
        return bytes(self._kept[-self.limit :]).decode("utf-8", "surrogateescape")

    def text_and_loss(self) -> str:
        """The same, below a line that says how much is missing if anything is."""
        if self.written > self.limit:
            return f"Captured {self.limit} of {self.written} bytes\n...\n{self.text()}"
        return self.text()
