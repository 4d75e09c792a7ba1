"""Compressed data that grows enormously, made without compressing anything enormous."""


def lzw_zeros(at_least: int, first: int = 0) -> bytes:
    """LZW of a first byte and then at least that many zero bytes.

    A run of one byte makes every code one byte longer than the one before, up to 3838 bytes per 12 bits."""
    bits = bit_count = 0
    pieces: list[bytes] = []
    width, high, written = 9, 257, 0

    def put(code: int) -> None:
        nonlocal bits, bit_count
        bits |= code << bit_count
        bit_count += width
        whole = bit_count >> 3
        pieces.append((bits & ((1 << (whole << 3)) - 1)).to_bytes(whole, "little"))
        bits >>= whole << 3
        bit_count &= 7

    put(first)
    high = 258
    length = 0
    while written < at_least:
        # After a literal zero the next free code stands for one zero more than the last one.
        code = 0 if length == 0 else high
        put(code)
        length += 1
        written += length
        high += 1
        if high == 1 << width:
            width += 1
        if high >= 4094:
            put(256)
            width, high, length = 9, 257, 0
    put(257)
    pieces.append(bits.to_bytes(2, "little"))
    return b"".join(pieces)
