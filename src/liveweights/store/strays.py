"""What a crash in the middle of CREATE DATABASE leaves on the disk, and Postgres does not see."""

from __future__ import annotations

import psycopg

from liveweights.store.place import Place

# What is being created now is newer than the server, to the whole second that a file's time is
# told in; what is being dropped is going anyway.
STRAYS = """
select folder from pg_ls_dir('base') as folder
where folder ~ '^[0-9]+$'
  and not exists (select from pg_database where oid = folder::oid)
  and (pg_stat_file('base/' || folder, true)).modification
      < date_trunc('second', pg_postmaster_start_time())
"""


def remove_strays(dsn: str, where: Place) -> int:
    """Remove the folders of databases that do not exist; give their number.

    ``dsn`` is the superuser's. Harmless while others create and drop databases.
    """
    with psycopg.connect(dsn, autocommit=True) as conn:
        strays = [where.data / "base" / row[0] for row in conn.execute(STRAYS).fetchall()]
    if strays:
        where.account.run(["rm", "-rf", "--", *strays])
    return len(strays)
