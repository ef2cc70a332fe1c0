"""A simulated workcell that satisfies Camera, Arm and Clock, with exact truth beside every frame.

Importing it loads neither pybullet nor open3d; a `World` needs the first, a picture the second.
"""

from sim.arm import BulletArm as BulletArm
from sim.arm_noise import FlangeNoise as FlangeNoise
from sim.camera import FrameTruth as FrameTruth
from sim.camera import SimCamera as SimCamera
from sim.motion import Motion as Motion
from sim.scene import Scene as Scene
from sim.scene import load_scene as load_scene
from sim.scene_file import list_scenes as list_scenes
from sim.scenery import Scenery as Scenery
from sim.sensor import Sensor as Sensor
from sim.solids import Solid as Solid
from sim.view import Viewer as Viewer
from sim.view import look_at as look_at
from sim.view import render_view as render_view
from sim.world import World as World
