"""How many bits a channel a file has, read from its head, where Pillow gives 8 bits and does not say so."""

from __future__ import annotations


def avif_bits(head: bytes) -> int:
    """Bits a channel of an AVIF file, from its configuration box; 8 where there is none."""
    place = head.find(b"av1C")
    flags = head[place + 6] if 0 <= place < len(head) - 6 else 0
    return 12 if flags & 0x60 == 0x60 else 10 if flags & 0x40 else 8


def jpeg2000_bits(head: bytes) -> int:
    """Bits of the first channel of a JPEG 2000 file, from its size marker; 8 where there is none."""
    place = head.find(b"\xff\x4f\xff\x51")  # start of the codestream, and of what tells sizes
    return (head[place + 42] & 0x7F) + 1 if 0 <= place < len(head) - 42 else 8


def jpegxl_bits(head: bytes) -> int:
    """Bits a channel of a JPEG XL file (ISO/IEC 18181-1, annexes B and D); 8 where its head is cut.

    Raises:
        ValueError: for an animation, of which a plugin may give the first frame alone.

    >>> jpegxl_bits(bytes.fromhex("ff0a89f09350b40800130800"))
    16
    """
    if head[:2] == b"\xff\x0a":
        place = 0
    else:
        boxes = [(head.find(name), skipped) for name, skipped in ((b"jxlc", 4), (b"jxlp", 8))]
        place = next((start + skipped for start, skipped in boxes if start >= 0), len(head))
    bits = _Bits(head[place + 2 : place + 64])
    try:
        return _jpegxl_depth(bits)
    except IndexError:
        return 8


def _jpegxl_depth(bits: _Bits) -> int:
    _skip_size(bits)
    if bits.read(1):  # all as usual
        return 8
    if bits.read(1):  # has more fields
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
    """Reads numbers of a few bits, the lowest bit of each byte first."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def read(self, count: int) -> int:
        """The next number of so many bits."""
        value = 0
        for shift in range(count):
            value |= (self._content[self._place >> 3] >> (self._place & 7) & 1) << shift
            self._place += 1
        return value

    def choose(self, *ways: tuple[int, int]) -> int:
        """A number in one of four ways, which two bits tell: an offset, and so many bits to add."""
        offset, count = ways[self.read(2)]
        return offset + self.read(count)
