"""Millions of crops: folders, tar shards, LMDB or Parquet in, the same kind out. `python -m app bulk INPUT OUTPUT`

    kind.units -> plan -> this process, or actors of Ray Data -> Worker -> record
                                                                   |
                   kind.read -> Pipeline: decode | infer | encode -> kind.write, ended by a rename

A unit is a shard, or some hundreds of pictures of a folder or LMDB. Its output appears whole by a rename, and
then its record; a unit with a record is never run again, one without is run from its beginning. So a killed worker
or job costs the units that were under way, and no output is there twice or by half. See docs/bulk.md.
"""
