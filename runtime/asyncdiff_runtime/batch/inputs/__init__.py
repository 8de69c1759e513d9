"""Pictures and videos that items start from: had, decoded and fitted while earlier items are made.

| module | what it holds |
| --- | --- |
| `addresses` | contents and digests by address: S3, and HTTPS where it is allowed |
| `https` | the one careful GET that HTTPS inputs come through |
| `decoding` | from bytes to pictures and frames, within limits |
| `fitting` | how a picture is brought to an item's size |
| `loading` | the inputs of a batch, and those of the next one in the background |
"""
