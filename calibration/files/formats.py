"""Which format a file or folder of views is in: found by its content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from calibration.files.contents import Contents, PosedPictures
from calibration.files.documents import Document, load_document
from calibration.files.industrial import is_industrial, read_industrial
from calibration.files.listed import is_listing, read_listing
from calibration.files.pose_csv import is_pose_csv, read_pose_csv
from calibration.files.samples import is_easy_samples, is_moveit, read_easy_samples, read_moveit
from calibration.files.tabb import is_robot_cali, read_robot_cali
from vision_ik.errors import ConfigError
from vision_ik.rig import Mount

_SUFFIXES = (".json", ".yaml", ".yml", ".samples", ".txt", ".csv")
_OWN = "poses.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewsFormat:
    """One way to write views down."""

    name: str
    recognises: Callable[[Document], bool]
    read: Callable[[Path, Document, Mount | None], Contents]
    """Of a file, what it holds, and who carries the camera where the file does not say."""


FORMATS: tuple[ViewsFormat, ...] = (
    ViewsFormat(name="a list of views", recognises=is_listing, read=lambda f, d, _: read_listing(f, d)),
    ViewsFormat(
        name="a data set of industrial_calibration",
        recognises=is_industrial,
        read=lambda f, d, _: read_industrial(f, d),
    ),
    ViewsFormat(name="samples of easy_handeye2", recognises=is_easy_samples, read=read_easy_samples),
    ViewsFormat(name="samples of MoveIt", recognises=is_moveit, read=lambda f, d, _: read_moveit(f, d)),
    ViewsFormat(name="poses of a robot_cali", recognises=is_robot_cali, read=lambda f, d, _: read_robot_cali(f, d)),
    ViewsFormat(name="a CSV of poses", recognises=is_pose_csv, read=lambda f, d, _: read_pose_csv(f, d)),
)
_READ = (
    'What is read: poses.json beside pictures, or corners in a JSON file (docs/conventions.md, "Views on disk"); '
    "cal_data.yaml of industrial_calibration; robot_cali.txt with pictures; a CSV with a header; samples of MoveIt "
    "or easy_handeye2."
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FoundViews:
    """The file that lists the views."""

    file: Path
    document: Document
    """What it holds."""
    known: ViewsFormat
    remark: str = ""
    """Which other file was passed over for it, and why; empty where there was none."""


def find_views(path: Path) -> FoundViews:
    """Return the file that lists the views of a folder, or the file itself.

    Where one file names pictures of a board that it describes, and another holds corners that were found in them
    before, the pictures count; the corners, where the other file cannot be read.

    Raises:
        ConfigError: There is none, its format is unknown, or there are several; the sentence names what was found.
    """
    if path.is_file():
        document = load_document(path)
        known = _format(document)
        if known is None:
            raise ConfigError(f"{path} is in no format of views that is known{_told(document)}.", _READ, path=path)
        return FoundViews(file=path, document=document, known=known)
    if (path / _OWN).is_file():
        return find_views(path / _OWN)
    files = sorted(file for file in path.glob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
    found: list[FoundViews] = []
    broken: list[ConfigError] = []
    for file in files:
        try:
            document = load_document(file)
        except ConfigError as error:
            broken.append(error)
            continue
        known = _format(document)
        if known is not None:
            found.append(FoundViews(file=file, document=document, known=known))
    if not found and len(broken) == 1:
        raise broken[0]
    if not found:
        raise ConfigError(_nothing(path, files), _READ, path=path)
    return found[0] if len(found) == 1 else _chosen(path, found)


def _chosen(path: Path, found: list[FoundViews]) -> FoundViews:
    """Return of two files the one to read, where one names pictures and the other holds corners found in them.

    Raises:
        ConfigError: Nothing tells which is meant.
    """
    if len(found) == 2:
        corners, pictures = sorted(found, key=lambda each: not is_listing(each.document))
        if is_listing(corners.document) and not is_listing(pictures.document):
            instead = f"--from {corners.file} takes the corners found before."
            try:
                contents = pictures.known.read(pictures.file, pictures.document, None)
            except ConfigError as error:
                remark = f"Took the corners in {corners.file.name}, as {pictures.file.name} is not read: {error.cause}"
                return replace(corners, remark=remark)
            if isinstance(contents, PosedPictures) and contents.board is not None:
                remark = f"Took {pictures.file.name} and its pictures, not {corners.file.name}: {instead}"
                return replace(pictures, remark=remark)
    listed = " and ".join(f"{each.known.name} ({each.file.name})" for each in found)
    ways = " or ".join(f"--from {each.file}" for each in found)
    raise ConfigError(f"{path} can be read as {listed}.", f"Name the file: {ways}.", path=path)


def _format(document: Document) -> ViewsFormat | None:
    return next((each for each in FORMATS if document is not None and each.recognises(document)), None)


def _nothing(path: Path, files: list[Path]) -> str:
    if not path.exists():
        return f"{path} is not there: no JSON, YAML, CSV or text file with views."
    if not files:
        return f"{path} holds no views: no JSON, YAML, CSV or text file."
    return f"{path} holds no views in a format that is known, but {', '.join(file.name for file in files[:6])}."


def _told(document: Document) -> str:
    if isinstance(document, dict):
        keys = [str(key) for key in document][:6]
        return f": it is a table of {', '.join(keys) or 'nothing'}"
    return f": it is a list of {len(document)}" if isinstance(document, list) else ""
