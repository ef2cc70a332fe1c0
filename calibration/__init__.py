"""Where the camera is: intrinsics, hand-eye calibration, planned views."""

from calibration.hand_eye import calibrate_hand_eye as calibrate_hand_eye
from calibration.hand_eye import calibrate_hand_eye_poses as calibrate_hand_eye_poses
from calibration.hand_eye import closed_form_hand_eye as closed_form_hand_eye
from calibration.values import ArmNoise as ArmNoise
from calibration.values import HandEyeResult as HandEyeResult
from calibration.values import HandEyeView as HandEyeView
from calibration.values import ViewReport as ViewReport
