"""PNG, JPEG and WebP, with the item's metadata in the file.

| format | document | text that other tools show |
| --- | --- | --- |
| PNG | iTXt `asyncdiff` | iTXt `parameters`, `Description`, `Software` |
| JPEG, WebP | XMP `asyncdiff:document` | EXIF UserComment and Software, XMP `dc:description` |

Equal pictures and metadata give equal bytes with equal versions of Pillow and its codecs.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Final
from xml.sax.saxutils import escape, unescape

from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from asyncdiff_runtime.media.errors import EncodingRefused, MediaUnreadable
from asyncdiff_runtime.media.metadata import KEY, SOFTWARE, Description, no_metadata, parse_document

PNG_COMPRESSION: Final = 3
"""zlib's level. A noisy picture of 1024 x 1024 comes out a seventh larger than at 6, in a third of the time."""

FULL_COLOUR_QUALITY: Final = 90
"""JPEG quality from which colour is kept at the full resolution."""

MAX_JPEG_XMP_BYTES: Final = 65_502
"""What one JPEG segment holds of XMP."""

MAX_COMMENT_CHARACTERS: Final = 30_000
"""So that EXIF, in UTF-16, fits into one JPEG segment; the rest is in the document."""

_XMP: Final = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" \
xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:asyncdiff="https://asyncdiff.dev/xmp/1.0/">
<xmp:CreatorTool>{software}</xmp:CreatorTool>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{prompt}</rdf:li></rdf:Alt></dc:description>
<asyncdiff:document>{document}</asyncdiff:document>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""

_XMP_DOCUMENT = re.compile(r"<asyncdiff:document>(.*?)</asyncdiff:document>", re.DOTALL)
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def encode_png(picture: Image.Image, description: Description) -> bytes:
    """Gives a PNG file."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Software", SOFTWARE)
    text.add_itxt("Description", description.prompt)
    text.add_itxt("parameters", description.parameters)
    text.add_itxt(KEY, description.document)
    return _saved(
        lambda file: picture.save(file, "PNG", pnginfo=text, compress_level=PNG_COMPRESSION, exif=b"")
    )


def encode_jpeg(picture: Image.Image, description: Description, quality: int) -> bytes:
    """Gives a JPEG file; `quality` is from 1 to 100.

    Raises:
        EncodingRefused: The metadata is larger than a JPEG segment.
    """
    xmp = _xmp(description)
    if len(xmp) > MAX_JPEG_XMP_BYTES:
        raise EncodingRefused(
            f"the metadata takes {len(xmp)} bytes, and a JPEG file holds {MAX_JPEG_XMP_BYTES}; "
            "set format to PNG or WebP, or shorten the prompt"
        )
    subsampling = "4:4:4" if quality >= FULL_COLOUR_QUALITY else "4:2:0"
    rgb, exif = picture.convert("RGB"), _exif(description)
    return _saved(
        lambda file: rgb.save(
            file, "JPEG", quality=quality, subsampling=subsampling, optimize=True, exif=exif, xmp=xmp
        )
    )


def encode_webp(picture: Image.Image, description: Description, quality: int) -> bytes:
    """Gives a WebP file, lossy, `quality` from 1 to 100."""
    exif, xmp = _exif(description), _xmp(description)
    return _saved(lambda file: picture.save(file, "WEBP", quality=quality, method=4, exif=exif, xmp=xmp))


def read_still(data: bytes) -> dict[str, object]:
    """Reads the metadata of a PNG, JPEG or WebP file.

    Raises:
        MediaUnreadable: The file is damaged or carries no metadata of ours.
    """
    picture = read_pixels(data)
    kind = picture.format or "picture"
    document = picture.info.get(KEY) if kind == "PNG" else _document_in(picture.info.get("xmp", b""))
    if document is None:
        raise no_metadata(kind)
    return parse_document(str(document))


def read_pixels(data: bytes) -> Image.Image:
    """Reads a PNG, JPEG or WebP file.

    Raises:
        MediaUnreadable: The file is damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            picture.load()  # so that a file cut short is told from a whole one
            return picture
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise MediaUnreadable(
            f"the picture cannot be read ({error}); it was cut short or altered: take it from the output "
            "prefix again"
        ) from error


def _saved(save: Callable[[io.BytesIO], None]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def _exif(description: Description) -> bytes:
    comment = description.parameters
    if len(comment) > MAX_COMMENT_CHARACTERS // 2:
        comment = comment[: MAX_COMMENT_CHARACTERS // 2] + "…"  # a character takes up to two units
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = SOFTWARE
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + comment.encode("utf-16-be")
    return exif.tobytes()


def _xmp(description: Description) -> bytes:
    prompt = escape(_NOT_XML.sub("\ufffd", description.prompt))
    document = escape(description.document)
    return _XMP.format(software=SOFTWARE, prompt=prompt, document=document).encode()


def _document_in(xmp: bytes) -> str | None:
    match = _XMP_DOCUMENT.search(xmp.decode(errors="replace"))
    return unescape(match[1], {"&quot;": '"', "&apos;": "'"}) if match else None
