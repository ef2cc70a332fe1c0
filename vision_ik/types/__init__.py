"""The values that travel between rooms: frozen, keyword-only, arrays read-only, SI units."""

from vision_ik.types._arrays import Floats as Floats
from vision_ik.types._arrays import Image as Image
from vision_ik.types.boards import Board as Board
from vision_ik.types.boards import BoardDetection as BoardDetection
from vision_ik.types.boards import CharucoBoard as CharucoBoard
from vision_ik.types.boards import Chessboard as Chessboard
from vision_ik.types.boards import Layout as Layout
from vision_ik.types.boards import TagBundle as TagBundle
from vision_ik.types.boards import TagGridBoard as TagGridBoard
from vision_ik.types.boards import tag_corners as tag_corners
from vision_ik.types.motion import IkBatch as IkBatch
from vision_ik.types.motion import IkSolution as IkSolution
from vision_ik.types.motion import IkStatus as IkStatus
from vision_ik.types.motion import JointCommand as JointCommand
from vision_ik.types.motion import JointState as JointState
from vision_ik.types.protocols import Arm as Arm
from vision_ik.types.protocols import Camera as Camera
from vision_ik.types.protocols import Detector as Detector
from vision_ik.types.protocols import IkSolver as IkSolver
from vision_ik.types.vision import CameraIntrinsics as CameraIntrinsics
from vision_ik.types.vision import Frame as Frame
from vision_ik.types.vision import LensModel as LensModel
from vision_ik.types.vision import PointObservation as PointObservation
from vision_ik.types.vision import PoseEstimate as PoseEstimate
from vision_ik.types.vision import TagDetection as TagDetection
from vision_ik.types.vision import Target as Target
