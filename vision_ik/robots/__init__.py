"""What an arm is: URDF chain, limits, forward kinematics, Jacobian; the catalogue of shipped arms.

The numba kernels are imported on the first call that computes something, not before.
"""

from vision_ik.robots.catalogue import CatalogueEntry as CatalogueEntry
from vision_ik.robots.catalogue import catalogue as catalogue
from vision_ik.robots.catalogue import list_robots as list_robots
from vision_ik.robots.catalogue import load_robot as load_robot
from vision_ik.robots.model import Capsule as Capsule
from vision_ik.robots.model import RobotModel as RobotModel
from vision_ik.robots.urdf_writing import save_urdf as save_urdf
