"""Doubles and contract suites: test your loop without hardware, and your driver against the seams."""

from vision_ik.clock import VirtualClock as VirtualClock
from vision_ik.testing.arm import FakeArm as FakeArm
from vision_ik.testing.arm import open_fake_arm as open_fake_arm
from vision_ik.testing.camera import FakeCamera as FakeCamera
from vision_ik.testing.camera import blank_frame as blank_frame
