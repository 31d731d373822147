"""Safety: small, pure, default-deny. Nothing here imports a policy or a driver."""

PROJECT = "robot_stack"
