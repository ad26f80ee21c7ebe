from hypothesis import settings

# Tests run side by side on few cores, so how long an example takes says nothing.
settings.register_profile("napo", deadline=None)
settings.load_profile("napo")
