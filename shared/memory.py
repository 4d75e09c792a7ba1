"""How the C library gives memory back: settings that a process must find in its environment when it starts.

Left alone, glibc raises its thresholds with the largest block that was ever freed. After a few large answers blocks of
half a megabyte come from the heap then, where one small block in use above them keeps all of them: a crowd of uploads
left 70 MB behind. A threshold that is given stays where it is."""

from __future__ import annotations

from typing import Final

MALLOC_ENVIRONMENT: Final = {"MALLOC_TRIM_THRESHOLD_": str(1 << 20)}
"""Free memory at the end of the heap beyond this many bytes is returned; blocks from 128 KiB on are mappings of their
own, which end with them."""
