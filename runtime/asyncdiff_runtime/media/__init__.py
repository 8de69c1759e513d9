"""Pictures and videos: acceptance, encoding with metadata, contact sheets and the gallery.

Knows nothing of jobs, pods or storage: it takes pictures and records and gives bytes. `encoding` and `pixels`
are for the way out, `gallery` and `sheet` for the finish step.
"""

from asyncdiff_runtime.media.encoding import Encoded, encode, encode_frames, read_metadata, read_picture
from asyncdiff_runtime.media.errors import EncodingRefused, MediaError, MediaUnreadable, PixelsRefused
from asyncdiff_runtime.media.pixels import Rejection, accept, to_images

__all__ = [
    "Encoded",
    "EncodingRefused",
    "MediaError",
    "MediaUnreadable",
    "PixelsRefused",
    "Rejection",
    "accept",
    "encode",
    "encode_frames",
    "read_metadata",
    "read_picture",
    "to_images",
]
