"""Bits a channel of AVIF, JPEG 2000 and JPEG XL files, read from their headers: Pillow always gives 8 bits."""

from __future__ import annotations


def avif_bits(head: bytes) -> int:
    """Bits a channel of an AVIF file, from its configuration box; 8 where there is none."""
    position = head.find(b"av1C")
    flags = head[position + 6] if 0 <= position < len(head) - 6 else 0
    return 12 if flags & 0x60 == 0x60 else 10 if flags & 0x40 else 8


def jpeg2000_bits(head: bytes) -> int:
    """Bits of the first channel of a JPEG 2000 file, from its size marker; 8 where there is none."""
    position = head.find(b"\xff\x4f\xff\x51")  # SOC and SIZ markers
    return (head[position + 42] & 0x7F) + 1 if 0 <= position < len(head) - 42 else 8


def jpegxl_bits(head: bytes) -> int:
    """Bits a channel of a JPEG XL file (ISO/IEC 18181-1, annexes B and D); 8 where the header is cut off.

    Raises:
        ValueError: for an animation, because a plugin may decode only the first frame.

    >>> jpegxl_bits(bytes.fromhex("ff0a89f09350b40800130800"))
    16
    """
    if head[:2] == b"\xff\x0a":
        position = 0
    else:
        boxes = [(head.find(name), header_size) for name, header_size in ((b"jxlc", 4), (b"jxlp", 8))]
        position = next((start + header_size for start, header_size in boxes if start >= 0), len(head))
    bits = _Bits(head[position + 2 : position + 64])
    try:
        return _jpegxl_depth(bits)
    except IndexError:
        return 8


def _jpegxl_depth(bits: _Bits) -> int:
    _skip_size(bits)
    if bits.read(1):  # all_default
        return 8
    if bits.read(1):  # extra_fields
        bits.read(3)  # orientation
        if bits.read(1):
            _skip_size(bits)  # intrinsic size
        if bits.read(1):
            return 8  # a preview, which no encoder writes
        if bits.read(1):
            raise ValueError("it is an animation: save the frame to score")
    if bits.read(1):
        return 32  # floating point
    return bits.choose((8, 0), (10, 0), (12, 0), (1, 6))


def _skip_size(bits: _Bits) -> None:
    small = bits.read(1)

    def side() -> int:
        return bits.read(5) if small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    side()
    if bits.read(3) == 0:  # no fixed ratio of the sides
        side()


class _Bits:
    """Reader of numbers of a few bits each, lowest bit of each byte first."""

    def __init__(self, content: bytes) -> None:
        self._content, self._position = content, 0

    def read(self, count: int) -> int:
        """The next number, of ``count`` bits."""
        value = 0
        for shift in range(count):
            value |= (self._content[self._position >> 3] >> (self._position & 7) & 1) << shift
            self._position += 1
        return value

    def choose(self, *codes: tuple[int, int]) -> int:
        """A variable-length number: two bits select an offset and the count of bits to read and add."""
        offset, count = codes[self.read(2)]
        return offset + self.read(count)
