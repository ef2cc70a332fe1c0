"""Training and judging the learned seeds."""

from vision_ik.learning.evaluation import Evaluation as Evaluation
from vision_ik.learning.evaluation import evaluate as evaluate
from vision_ik.learning.recipe import Progress as Progress
from vision_ik.learning.recipe import Recipe as Recipe
from vision_ik.learning.trainer import Trained as Trained
from vision_ik.learning.trainer import train as train
from vision_ik.learning.workspace import WorkspaceMap as WorkspaceMap
from vision_ik.learning.workspace import map_workspace as map_workspace
