"""LZW as Go's compress/lzw does it with LSB order and 8-bit literals, which is what memberlist compresses with."""

from services.gossip.codec.errors import PacketError

_CLEAR = 256
_EOF = 257
_MAX_WIDTH = 12
_TABLE_FULL = (1 << _MAX_WIDTH) - 1
_BLOCK = 64  # codes read at a time


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
    """The original bytes, at most `limit` of them. Raises PacketError for a bad, cut or too large stream.

    Entry n of the code table is the text of the n-th code since the last clear code and the byte after it. All of
    that stands in the output already, so only places in it are remembered. Codes are read in blocks of one width."""
    out = bytearray()
    starts: list[int] = []  # where in the output the text of each code began
    end, at = len(data) << 3, 0  # in bits
    width, position = 9, 0
    while True:
        to_learn = _TABLE_FULL - 256 - len(starts)
        until_wider = (1 << width) - 257 - len(starts) if to_learn else _BLOCK
        count = min(until_wider, _BLOCK, (end - at) // width)
        if count <= 0:
            raise PacketError("lzw: stream ends without an end code")
        first, skipped = at >> 3, at & 7
        word = int.from_bytes(data[first : first + ((skipped + count * width + 7) >> 3)], "little") >> skipped
        mask = (1 << width) - 1
        for shift in range(0, count * width, width):
            code = word >> shift & mask
            if code < 256:
                if to_learn:
                    starts.append(position)
                out.append(code)
                position += 1
            elif code > _EOF:
                if to_learn:
                    starts.append(position)
                try:
                    start, stop = starts[code - 258], starts[code - 257] + 1
                except IndexError:
                    raise PacketError("lzw: invalid code") from None
                position += stop - start
                if position > limit:
                    break
                out += out[start:stop]
                if len(out) < position:  # this code's own entry: its last byte is its first
                    out.append(out[start])
            elif code == _EOF:
                if position <= limit:
                    return bytes(out)
                break
            else:
                starts.clear()
                at += shift + width
                width = 9
                break
        else:
            at += count * width
            if width < _MAX_WIDTH and len(starts) + 257 == 1 << width:
                width += 1
        if position > limit:
            raise PacketError(f"lzw: more than {limit} bytes after decompression")
