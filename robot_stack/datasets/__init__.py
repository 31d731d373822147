"""`robot-stack data`: look at, convert, edit and repair datasets."""
