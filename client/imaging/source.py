"""What a path in cohort.csv stands for: a file, a folder, or one ROI of a file."""

from __future__ import annotations

from pathlib import Path

_PREAMBLE = 128
_MAGIC = b"DICM"
_ENDINGS = (".dcm", ".ima")


def split_roi(path: Path) -> tuple[Path, str | None]:
    """A file, and the ROI that is wanted of it where one is named: `rtstruct.dcm#GTV`.

    A "#" in the name of a file that exists is part of that name.
    """
    if path.exists():
        return path, None
    text = str(path)
    for at, letter in enumerate(text):
        if letter == "#" and Path(text[:at]).is_file():
            return Path(text[:at]), text[at + 1 :].strip()
    return path, None


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM (PS3.10, 7.1) or bears its name; False where there is no file."""
    try:
        with path.open("rb") as file:
            start = file.read(_PREAMBLE + len(_MAGIC))
    except OSError:
        return False
    return start[_PREAMBLE:] == _MAGIC or path.suffix.lower() in _ENDINGS


def image_files(image: Path) -> list[Path]:
    """The files and folders that decide what is read: one DICOM slice stands for its series."""
    return [image.parent, image] if is_dicom(image) else [image]
