"""Inverse kinematics: learned seeds, compiled refinement, one call per target."""

from vision_ik.ik.loading import load_solver as load_solver
from vision_ik.ik.solver import HybridSolver as HybridSolver
from vision_ik.ik.task import IkTask as IkTask
from vision_ik.ik.task import Rotation as Rotation
