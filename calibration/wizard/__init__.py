"""The way to a calibrated rig, step by step, without any user interface: events in, a view of the state out.

    wizard = Wizard("rigs/desk", goal="all")
    view = wizard.handle(Answer("mount", "eye_to_hand"))      # view.todo says what to do next

Front ends (a terminal, a page) show ``wizard.view`` and hand in what ``view.wants``. Everything is on disk
before ``handle`` returns: another process may go on at any time, whatever happened to this one.
"""

from calibration.wizard.driving import drive as drive
from calibration.wizard.events import Accuracy as Accuracy
from calibration.wizard.events import Answer as Answer
from calibration.wizard.events import Answers as Answers
from calibration.wizard.events import Checked as Checked
from calibration.wizard.events import Command as Command
from calibration.wizard.events import Do as Do
from calibration.wizard.events import Event as Event
from calibration.wizard.events import Import as Import
from calibration.wizard.events import Lens as Lens
from calibration.wizard.events import Picture as Picture
from calibration.wizard.events import Question as Question
from calibration.wizard.events import StepView as StepView
from calibration.wizard.events import Touch as Touch
from calibration.wizard.events import Verdict as Verdict
from calibration.wizard.events import WizardView as WizardView
from calibration.wizard.machine import Wizard as Wizard
from calibration.wizard.steps import Goal as Goal
from calibration.wizard.steps import Step as Step
