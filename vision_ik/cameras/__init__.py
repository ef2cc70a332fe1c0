"""Pixels in: webcams, files, folders and streams behind one protocol."""

from vision_ik.cameras.intrinsics_files import check_intrinsics_path as check_intrinsics_path
from vision_ik.cameras.intrinsics_files import load_any_intrinsics as load_any_intrinsics
from vision_ik.cameras.intrinsics_files import save_any_intrinsics as save_any_intrinsics
from vision_ik.cameras.opening import is_live_source as is_live_source
from vision_ik.cameras.opening import open_camera as open_camera
from vision_ik.cameras.settings import CameraSettings as CameraSettings
