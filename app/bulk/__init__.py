"""Data sets of millions of crops: folders, tar shards, LMDB or Parquet in, the same kind out.

    text-telescope bulk INPUT OUTPUT

    kind.units -> plan -> this process, or actors of Ray Data -> Worker -> record
                                                                   |
                   kind.read -> BulkPipeline: decode | infer | encode -> kind.write, ended by a rename

A unit is a shard, or up to a thousand pictures of a folder or LMDB. Its output appears as a whole by a rename,
then its record is written. A unit with a record is never run again; a unit without one is run from its beginning.
So a kill loses only the units in progress, and output is never duplicated or partial. See docs/bulk.md.
"""
