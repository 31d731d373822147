"""Policies: architectures, training, export, engines."""
