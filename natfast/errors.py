"""natfast's own error classes."""


class NatfastError(Exception):
    """Base of the errors that name something the user wrote."""


class RulesError(NatfastError):
    """Rules text that is not understood; the message names line and token."""


class BoxError(NatfastError):
    """A box description (interfaces, addresses, sysctls) that is not understood."""


class CaptureError(NatfastError):
    """A capture file that is damaged or of an unknown kind."""
