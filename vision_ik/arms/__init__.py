"""JointCommand to metal: the guard that all drivers share, and how to open an arm."""

from vision_ik.arms.base import GuardedArm as GuardedArm
from vision_ik.arms.guard import SetpointGuard as SetpointGuard
from vision_ik.arms.limits import GuardSettings as GuardSettings
from vision_ik.arms.limits import JointLimits as JointLimits
from vision_ik.arms.registry import open_arm as open_arm
