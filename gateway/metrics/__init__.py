"""Numbers for Prometheus: what is counted, where it is read, how it is written down.

`catalogue` declares every metric; nothing is exposed that is not in it. `tallies` are the plain numbers that requests add to:
no library, no lock, no look-up by text. `readings` makes one `Snapshot` of a process out of them and of the objects that
count for themselves; `exposition` adds up the snapshots of several processes and writes the text that Prometheus reads.

Labels come from closed sets: the configuration's own names and the words of this code. No id, no locator and nothing that a
request brought is ever one; a value of no set becomes `other`.
"""
