"""The smb adapter: the documents of a Windows share, or of any server that speaks SMB 2.1 and later.

    from adapters.smb import SmbAdapter

The rest of this package may move. Each module has one idea: `names` (what a locator may be), `document` (a server's facts as
those of a document), `failures` (NTSTATUS to adapter error), `credentials` (who logs on), `pool` (connections), `dfs` and
`referral` (where a path really lies), `adapter` (the contract). Below them `share` is the seam that two engines stand behind:
`native`, our own data path over the messages of `wire`, and `library`, smbprotocol alone. `session` and `transport` set a
connection up for both. Needs the extra `smb`.
"""

from adapters.smb.adapter import SmbAdapter
from adapters.smb.options import SmbOptions

__all__ = ["SmbAdapter", "SmbOptions"]
