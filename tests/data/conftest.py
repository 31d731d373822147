"""Property tests judge values, never the speed of the machine they run on."""

from hypothesis import settings

settings.register_profile("values", deadline=None)
settings.load_profile("values")
