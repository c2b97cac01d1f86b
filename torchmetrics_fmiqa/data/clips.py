"""Clips on disk: folders of frames, and files of video."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from torchmetrics_fmiqa.data.folders import list_folder
from torchmetrics_fmiqa.data.images import read_image

#: Endings of files that torchcodec is asked to read.
VIDEO_ENDINGS = frozenset({".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".y4m"})


@dataclass(frozen=True)
class Clip:
    """Frames in their order, read one by one.

    Args:
        names: of the frames.
        read: callable that reads them, each ``(3, H, W)``, uint8 or uint16.
    """

    names: list[str]
    read: Callable[[], Iterator[Tensor]]


def open_clip(path: Path, to_rgb: bool = False) -> Clip:
    """A folder of frames, in the order of the numbers in their names; or a file of video (needs torchcodec).

    Args:
        path: the folder or file.
        to_rgb: of frames: as in :func:`~torchmetrics_fmiqa.data.images.read_image`.

    Raises:
        ValueError: for a path that is neither, a folder without images or with other files among them, and a video that
            cannot be read.
    """
    if path.is_dir():
        listing = list_folder(path)
        inside = [frame for frame in listing.images if frame.parent != path]
        strange = [*inside, *listing.others, *(problem.name for problem in listing.problems)]
        if strange:
            raise ValueError(f"the folder of frames {str(path)!r} holds other things ({strange[0]}): move them out")
        frames = sorted(listing.images, key=_by_numbers)
        return Clip([frame.name for frame in frames], lambda: (read_image(frame, to_rgb) for frame in frames))
    if not path.is_file():
        raise ValueError(f"there is no folder of frames or video {str(path)!r}")
    if path.suffix.lower() not in VIDEO_ENDINGS:
        endings = ", ".join(sorted(VIDEO_ENDINGS))
        raise ValueError(f"{str(path)!r} is no video ({endings}): give a folder of frames, or score it as an image")
    return _open_video(path)


def _by_numbers(path: Path) -> list[tuple[int, int | str]]:
    """What puts ``frame_10`` after ``frame_9``."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _open_video(path: Path) -> Clip:
    try:
        from torchcodec.decoders import VideoDecoder
    except ImportError:
        fix = "pip install torchcodec, or give folders of frames"
        raise ValueError(f"{str(path)!r} is a video, which torchcodec reads: {fix}") from None
    except Exception as error:  # it looks for FFmpeg's libraries when it is imported
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"torchcodec does not find FFmpeg ({reason}): install FFmpeg, or give frames") from error
    try:
        decoder = VideoDecoder(str(path))
        count = len(decoder)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"cannot read the video {str(path)!r}: {reason}") from error

    def read() -> Iterator[Tensor]:
        try:
            yield from (decoder[place] for place in range(count))
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            raise ValueError(f"cannot read all {count} frames of the video {str(path)!r}: {reason}") from error

    return Clip([f"frame {place}" for place in range(count)], read)
