"""Checkpoints of other libraries, with their own loading code, made into bundles: robomimic and LeRobot."""
