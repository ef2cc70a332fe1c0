"""Markers: finding them, their poses, boards of them, and printing them."""

from vision_ik.tags.board_faults import explain_missing_board as explain_missing_board
from vision_ik.tags.boards import BoardFinder as BoardFinder
from vision_ik.tags.boards import detect_board as detect_board
from vision_ik.tags.bundle_learning import LearnedBundle as LearnedBundle
from vision_ik.tags.bundle_learning import learn_bundle as learn_bundle
from vision_ik.tags.detector import TagDetector as TagDetector
from vision_ik.tags.diamonds import find_diamonds as find_diamonds
from vision_ik.tags.dictionaries import MarkerDictionary as MarkerDictionary
from vision_ik.tags.dictionaries import load_dictionary as load_dictionary
from vision_ik.tags.dictionaries import save_dictionary as save_dictionary
from vision_ik.tags.families import list_families as list_families
from vision_ik.tags.following import FollowSettings as FollowSettings
from vision_ik.tags.following import TagFollower as TagFollower
from vision_ik.tags.gate import TemporalGate as TemporalGate
from vision_ik.tags.ladder import Budget as Budget
from vision_ik.tags.ladder import SearchResult as SearchResult
from vision_ik.tags.learning_patterns import learn_dictionary as learn_dictionary
from vision_ik.tags.pose import estimate_board_pose as estimate_board_pose
from vision_ik.tags.pose import estimate_pose as estimate_pose
from vision_ik.tags.printing import save_board_pdf as save_board_pdf
from vision_ik.tags.printing import save_tags_pdf as save_tags_pdf
from vision_ik.tags.render import render_board as render_board
from vision_ik.tags.render import render_marker as render_marker
from vision_ik.tags.tracker_settings import TrackerSettings as TrackerSettings
from vision_ik.tags.tracking import TargetTracker as TargetTracker
from vision_ik.tags.tracking import UpdateOutcome as UpdateOutcome
