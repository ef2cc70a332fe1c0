"""IkSolution to JointCommand: prediction, jerk-limited set-points, supervision, the servo loop."""

from vision_ik.control.feed import FrameFeed as FrameFeed
from vision_ik.control.feed import JointHistory as JointHistory
from vision_ik.control.loop import ServoLoop as ServoLoop
from vision_ik.control.loop import ServoStep as ServoStep
from vision_ik.control.motion import move_to as move_to
from vision_ik.control.servo import servo as servo
from vision_ik.control.settings import ServoSettings as ServoSettings
from vision_ik.control.settings import WorkspaceBox as WorkspaceBox
from vision_ik.control.supervisor import Mode as Mode
from vision_ik.control.supervisor import Supervisor as Supervisor
from vision_ik.control.supervisor import Verdict as Verdict
from vision_ik.control.trajectory import JointTrajectory as JointTrajectory
