"""Views from files: corners, pictures or pairs of poses, in any of the formats that `formats` lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from calibration.files.contents import PosedCorners, PosedPictures, PosePairs
from calibration.files.formats import find_views
from calibration.hand_eye.values import HandEyeView
from calibration.views.missing import MissingBoard
from vision_ik.cameras.pictures import decode_image
from vision_ik.errors import CalibrationError, ConfigError
from vision_ik.rig import Mount
from vision_ik.tags import BoardFinder
from vision_ik.types import Board, CameraIntrinsics, Frame, TagBundle


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Observations:
    """Views read from a file."""

    views: tuple[HandEyeView, ...]
    image_size: tuple[int, int]
    """Width, height [px]."""
    mount: Mount | None
    """None when the file does not say."""
    unseen: tuple[str, ...] = ()
    """Pictures in which the board was not found."""
    board: Board | None = None
    """What the print in the pictures is; None where corners were read."""
    remarks: tuple[str, ...] = ()
    """What was wrong with the board as told, and which of several files was read."""
    lens: CameraIntrinsics | None = None
    """As the files state it, perhaps nominal; None when they do not."""


def read_observations(path: str | Path, *, board: Board | None = None) -> Observations:
    """Read views from a file, or from the only file with views in a folder.

    Args:
        path: The file or its folder.
        board: Layout to look for, where the files name pictures; by default the one they describe.

    Raises:
        ConfigError: No such file, malformed, pictures without a board, or poses without pictures; the sentence names
            the key.
        InvalidPoseError: A pose is no rigid transform.
        FrameReadError: A picture cannot be decoded.
        TagError: The pictures show another board, or the board mirrored.
    """
    found = find_views(Path(path))
    file, remarks = found.file, (found.remark,) if found.remark else ()
    contents = found.known.read(file, found.document, None)
    match contents:
        case PosedCorners():
            return Observations(
                views=contents.views, image_size=contents.image_size, mount=contents.mount, remarks=remarks
            )
        case PosedPictures():
            read = _look(file, contents, board or contents.board)
            return replace(read, remarks=(*remarks, *read.remarks))
        case PosePairs():
            raise ConfigError(
                f"{file} holds pairs of poses, and neither pictures nor corners.",
                "`vision-ik calibrate hand-eye --from` takes them, and so does calibration.read_pose_pairs.",
                path=file,
            )


def read_pose_pairs(path: str | Path, *, mount: Mount | None = None) -> PosePairs | None:
    """Read pairs of poses, for `calibrate_hand_eye_poses`; None where the files hold pictures or corners.

    Args:
        path: A file, or a folder with one.
        mount: Who carries the camera, where the file does not say.

    Raises:
        ConfigError: No such file, or malformed; the sentence names the key.
        InvalidPoseError: A pose is no rigid transform.
    """
    found = find_views(Path(path))
    if found.known.name not in _PAIRS:
        return None
    contents = found.known.read(found.file, found.document, mount)
    return contents if isinstance(contents, PosePairs) else None


_PAIRS = ("samples of easy_handeye2", "samples of MoveIt", "a CSV of poses")


def described_board(path: str | Path) -> Board | None:
    """Return the board that the files of views describe; None where they do not.

    Raises:
        ConfigError: No such file, or malformed; the sentence names the key.
        InvalidPoseError: A pose is no rigid transform.
    """
    found = find_views(Path(path))
    if found.known.name in _PAIRS[:2]:
        return None
    contents = found.known.read(found.file, found.document, None)
    return contents.board if isinstance(contents, PosedPictures) else None


def _look(file: Path, contents: PosedPictures, board: Board | None) -> Observations:
    if board is None:
        raise ConfigError(
            f"{file} names pictures, but nobody said which board they show.",
            "Give its --columns, --rows, --square-mm, --marker-mm and --board-family.",
        )
    views: list[HandEyeView] = []
    unseen: list[str] = []
    size = (0, 0)
    finder, missing = BoardFinder(board), MissingBoard(board)
    for i, picture in enumerate(contents.pictures):
        image = decode_image(contents.folder / picture.name)
        shape = (int(image.shape[1]), int(image.shape[0]))
        if size not in ((0, 0), shape):
            raise CalibrationError(
                f"{picture.name} measures {shape[0]}x{shape[1]} px, the pictures before it {size[0]}x{size[1]}.",
                "Use pictures of one camera at one resolution.",
                picture=picture.name,
            )
        size = shape
        lens = CameraIntrinsics.from_field_of_view(*size)  # detection does not look at it
        frame = Frame(image=image, timestamp=float(i), index=i, intrinsics=lens)
        detection = finder.detect(frame)
        if detection is None:
            unseen.append(picture.name)
            missing.note(frame)
        else:
            views.append(
                HandEyeView(
                    T_base_flange=picture.T_base_flange,
                    detection=detection,
                    name=picture.name,
                    q=picture.q,
                    twist=picture.twist,
                )
            )
    reason = None if views else missing.explain()
    if reason is not None:
        raise reason
    return Observations(
        views=tuple(views),
        image_size=size,
        mount=contents.mount,
        unseen=tuple(unseen),
        board=board if isinstance(finder.layout, TagBundle) else finder.layout,
        remarks=finder.remarks,
        lens=contents.lens,
    )
