"""A wizard whose process is killed: what was taken is there, and another process goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from calibration.wizard import Wizard

_TAKES_VIEWS = """
import sys
import numpy as np
from calibration.wizard import Answers, Lens, Picture, Wizard
from vision_ik.layouts import board_table
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, CameraIntrinsics, CharucoBoard, Frame

board = CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.022)
lens = CameraIntrinsics.from_field_of_view(640, 480)
image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
points = board.chess_corners
with Wizard(sys.argv[1], goal="hand-eye") as wizard:
    wizard.handle(Answers({"robot": "panda", "mount": "eye_to_hand", "board": board_table(board), "edge_mm": 0}))
    for i in range(1000):
        seen = BoardDetection(points_board=points, points_image=1000.0 * points[:, :2] + i, timestamp=0.0)
        frame = Frame(image=image, timestamp=0.0, index=i, intrinsics=lens)
        pose = Transform.from_translation([0.001 * i, 0.0, 0.0])
        wizard.handle(Picture(frame=frame, T_base_flange=pose, detection=seen))
        print(len(wizard.state.of("views")), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("views", [1, 3])
def test_a_killed_process_loses_the_view_being_taken_at_most(views: int, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _TAKES_VIEWS, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = 0
        while told < views:
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
        told = max([told, *(int(line) for line in process.stdout.read().split())])
    with Wizard(tmp_path, goal="hand-eye") as wizard:
        assert len(wizard.state.of("views")) in (told, told + 1)
        assert wizard.resumed
        taken = wizard.document.taken
    for facts in taken.values():
        assert (tmp_path / "calibration" / facts["image"]).stat().st_size > 500_000
