"""`python -m robot_stack` is `robot-stack`."""

import sys

from robot_stack.cli import main

sys.exit(main())
