"""Policies: architectures, training, export, engines."""

PROJECT = "robot_stack"
