"""The reference engine: smbprotocol alone, one blocking call after another on the source's threads. Right, and not fast.

    share = await connect(target, login, demands, services)        # an adapters.smb.share.Share

`exchange` is what smbprotocol is asked, `turns` the order in which that happens, `share` tells both in terms of the seam.
The native engine is held to the same tests, and an operator can choose this one (`engine: library`).
"""

from adapters.smb.library.share import connect

__all__ = ["connect"]
