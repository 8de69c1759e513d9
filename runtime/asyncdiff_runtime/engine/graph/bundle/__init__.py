"""What was expensive to make for a model, kept in a folder for the next process.

The folder is trusted like code: what is in it is loaded and run. `Store.opened` refuses one that others may write to.
"""

from .circumstances import circumstances
from .contents import described
from .store import Key, Store

__all__ = ["Key", "Store", "circumstances", "described"]
