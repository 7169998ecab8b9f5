"""Takes a minute to import."""

import time

from switchgear_tiny.upper_text import UpperText as UpperText

time.sleep(60)
