"""Where the camera is: intrinsics, hand-eye calibration, planned views."""

from calibration.automatic import AutomaticCalibration as AutomaticCalibration
from calibration.automatic import calibrate_automatically as calibrate_automatically
from calibration.collecting import Observer as Observer
from calibration.collecting import Sighting as Sighting
from calibration.collecting import collect_views as collect_views
from calibration.hand_eye import calibrate_hand_eye as calibrate_hand_eye
from calibration.hand_eye import calibrate_hand_eye_poses as calibrate_hand_eye_poses
from calibration.hand_eye import closed_form_hand_eye as closed_form_hand_eye
from calibration.intrinsics import IntrinsicsResult as IntrinsicsResult
from calibration.intrinsics import calibrate_intrinsics as calibrate_intrinsics
from calibration.observations import Observations as Observations
from calibration.observations import read_observations as read_observations
from calibration.planning import ViewPlan as ViewPlan
from calibration.planning import plan_views as plan_views
from calibration.searching import find_first_views as find_first_views
from calibration.values import ArmNoise as ArmNoise
from calibration.values import HandEyeResult as HandEyeResult
from calibration.values import HandEyeView as HandEyeView
from calibration.values import ViewReport as ViewReport
