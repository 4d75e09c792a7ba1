"""LZW as Go's compress/lzw does it with LSB order and 8-bit literals, which is what memberlist compresses with."""

from services.gossip.codec.errors import PacketError

_CLEAR = 256
_EOF = 257
_MAX_WIDTH = 12
_TABLE_FULL = (1 << _MAX_WIDTH) - 1
_LITERALS = [bytes([value]) for value in range(256)]


def compress(data: bytes) -> bytes:
    """One LZW stream, without a leading clear code (as Go before 1.17; receivers of any age take it)."""
    out = bytearray()
    bits = bit_count = 0
    width, high = 9, _EOF
    table: dict[int, int] = {}
    code = -1
    for byte in data:
        if code < 0:
            code = byte
            continue
        key = code << 8 | byte
        known = table.get(key)
        if known is not None:
            code = known
            continue
        bits |= code << bit_count
        bit_count += width
        code = byte
        high += 1
        if high == 1 << width:
            width += 1
        if high == _TABLE_FULL:
            bits |= _CLEAR << bit_count
            bit_count += width
            width, high = 9, _EOF
            table.clear()
        else:
            table[key] = high
        if bit_count >= 256:
            whole = bit_count >> 3
            out += (bits & ((1 << (whole << 3)) - 1)).to_bytes(whole, "little")
            bits >>= whole << 3
            bit_count &= 7
    if code >= 0:
        bits |= code << bit_count
        bit_count += width
        high += 1
        if high == 1 << width:
            width += 1
        if high == _TABLE_FULL:
            bits |= _CLEAR << bit_count
            bit_count += width
            width = 9
    bits |= _EOF << bit_count
    bit_count += width
    out += bits.to_bytes((bit_count + 7) >> 3, "little")
    return bytes(out)


def decompress(data: bytes | memoryview, limit: int) -> bytes:
    """The original bytes, at most `limit` of them. Raises PacketError for a bad, cut or too large stream."""
    pieces: list[bytes] = []
    total = 0
    table: list[bytes] = [*_LITERALS, b"", b""]     # entry n of the code space; 256 and 257 are never looked up
    bits = bit_count = position = 0
    width = 9
    last = b""
    size = len(data)
    while True:
        while bit_count < width:
            if position >= size:
                raise PacketError("lzw: stream ends without an end code")
            chunk = data[position : position + 6]
            bits |= int.from_bytes(chunk, "little") << bit_count
            bit_count += len(chunk) << 3
            position += len(chunk)
        code = bits & ((1 << width) - 1)
        bits >>= width
        bit_count -= width
        high = len(table)                            # the number the next entry will get
        if code < 256:
            piece = _LITERALS[code]
        elif code == _EOF:
            return b"".join(pieces)
        elif code == _CLEAR:
            del table[258:]
            width, last = 9, b""
            continue
        elif code < high:
            piece = table[code]
        elif code == high and last:
            piece = last + last[:1]
        else:
            raise PacketError("lzw: invalid code")
        total += len(piece)
        if total > limit:
            raise PacketError(f"lzw: more than {limit} bytes after decompression")
        pieces.append(piece)
        if last:
            table.append(last + piece[:1])
            high += 1
        # A full table stops learning until the next clear code.
        last = piece
        if high >= 1 << width:
            if width == _MAX_WIDTH:
                last = b""
            else:
                width += 1
