"""Our own asynchronous data path on a connection that smbprotocol has set up.

    share = await connect(target, login, demands, services)        # an adapters.smb.share.Share

`connection` moves messages (frames, signatures, credits, who waits for which answer), `reading` keeps a window of READs
open for one reader, `share` tells both in terms of the seam. None of them blocks, and none knows HTTP or the pool.
"""

from adapters.smb.native.share import connect

__all__ = ["connect"]
