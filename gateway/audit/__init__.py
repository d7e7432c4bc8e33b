"""The audit trail: who was given which document, durable before its first byte.

Rules of this room:
1. `record` and `chain` are pure: what a record says, and how records hang together. `keys` seals and signs. Files are
   `segments`, `writing` (the one thread that writes), `recovery`, `retention`; reading them back is `verifying` and `reading`.
2. Nothing in an open field of a record can name a patient: ids are keyed hashes there. The id itself, the patient where the
   index knows one, who asked and from where stand in the sealed field alone.
3. A file is only ever appended to, by the one process that holds its lock. What a crash left is never touched again.
4. Nobody waits for a disk but the writing thread; readers wait for a future, and many of them for one fsync.
5. Delivery (`feeding` and its receivers) reads the same files as every other reader; what is not durable is never sent.

docs/audit.md is the operator's page, docs/decisions/0011-audit-trail.md says why it is so.
"""
