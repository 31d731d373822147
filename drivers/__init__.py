"""Drivers: cameras, arms, teleop devices, simulated worlds. SI units outside, vendor SDK inside."""

PROJECT = "robot_stack"
