"""The ROS 2 shell: one file a node; nodes only move messages."""
