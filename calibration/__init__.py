"""Where the camera is: intrinsics, hand-eye calibration, planned views."""

from calibration.files.observations import Observations as Observations
from calibration.files.observations import read_observations as read_observations
from calibration.hand_eye.solving import calibrate_hand_eye as calibrate_hand_eye
from calibration.hand_eye.solving import calibrate_hand_eye_poses as calibrate_hand_eye_poses
from calibration.hand_eye.solving import closed_form_hand_eye as closed_form_hand_eye
from calibration.hand_eye.values import ArmNoise as ArmNoise
from calibration.hand_eye.values import HandEyeResult as HandEyeResult
from calibration.hand_eye.values import HandEyeView as HandEyeView
from calibration.hand_eye.values import ViewReport as ViewReport
from calibration.lens.intrinsics import IntrinsicsResult as IntrinsicsResult
from calibration.lens.intrinsics import calibrate_intrinsics as calibrate_intrinsics
from calibration.systematics.time_offset import FlangeRecording as FlangeRecording
from calibration.systematics.time_offset import views_from_stream as views_from_stream
from calibration.views.automatic import AutomaticCalibration as AutomaticCalibration
from calibration.views.automatic import calibrate_automatically as calibrate_automatically
from calibration.views.collecting import Observer as Observer
from calibration.views.collecting import Sighting as Sighting
from calibration.views.collecting import collect_views as collect_views
from calibration.views.planning import ViewPlan as ViewPlan
from calibration.views.planning import plan_views as plan_views
from calibration.views.searching import find_first_views as find_first_views
