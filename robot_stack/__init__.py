"""robot_stack: run learned policies on real robots, with no command reaching a motor unchecked."""

__version__ = "0.1.0"
