"""Doubles and contract suites: test your loop without hardware, and your driver against the seams."""

from vision_ik.clock import VirtualClock as VirtualClock
from vision_ik.testing.arm import FakeArm as FakeArm
from vision_ik.testing.arm import open_fake_arm as open_fake_arm
from vision_ik.testing.arm_contract import arm_contract as arm_contract
from vision_ik.testing.camera import FakeCamera as FakeCamera
from vision_ik.testing.camera import blank_frame as blank_frame
from vision_ik.testing.camera_contract import camera_contract as camera_contract
from vision_ik.testing.contract import Check as Check
from vision_ik.testing.detector_contract import detector_contract as detector_contract
from vision_ik.testing.ik_solver_contract import ik_solver_contract as ik_solver_contract
