"""simcore's own error classes."""


class SimcoreError(Exception):
    """Something that the user wrote is wrong; the message is one line naming file and key."""


class ScenarioError(SimcoreError):
    """A scenario or Compose file that is not understood."""
