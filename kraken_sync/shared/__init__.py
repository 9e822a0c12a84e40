"""One verified feed for many processes and machines, over Redis Streams; needs the extra ``shared``."""

from .client import SHARED, SharedClient
from .publisher import Publisher

__all__ = ["SHARED", "Publisher", "SharedClient"]
