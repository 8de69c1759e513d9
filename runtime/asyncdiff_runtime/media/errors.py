"""What can go wrong with pictures and videos, and what to do about it.

MediaError
├── PixelsRefused     an array is not pictures
├── EncodingRefused   the pictures or their metadata cannot be written in the form asked for
└── MediaUnreadable   a file is no picture or video, is cut short, or carries no metadata of ours
"""


class MediaError(ValueError):
    """Base of every error that this package raises on its own account."""


class PixelsRefused(MediaError):
    """An array has another shape, type or range than pictures have."""


class EncodingRefused(MediaError):
    """The pictures or their metadata cannot be written in the form asked for."""


class MediaUnreadable(MediaError):
    """A file is no picture or video, is cut short, or carries no metadata of ours."""
