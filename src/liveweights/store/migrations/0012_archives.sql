-- Days whose rows went to files, and what was in them. Their rollups stay. A day that was brought
-- back (`restored_at`) stays until somebody archives it again.
create table archives (
    day          date primary key,
    generations  bigint not null,
    feedback     bigint not null,
    -- SHA-256 of the two files by name; empty where the rows were dropped for good.
    files        jsonb not null,
    archived_at  timestamptz not null default now(),
    restored_at  timestamptz
);

-- As before, but never for days whose rows are not here.
create or replace procedure rebuild_rollups(since timestamptz, until timestamptz)
language plpgsql as $$
declare
    gone date;
begin
    lock table rollups, rollup_histograms in share row exclusive mode;
    select max(day) into gone from archives
    where restored_at is null and day >= since::date and day < until::date;
    if gone is not null then
        raise exception 'the rows of % are archived: its rollups cannot be counted anew', gone
            using hint = 'rebuild later days only, or bring the day back with `liveweights restore`';
    end if;
    delete from rollups where bucket >= since and bucket < until;
    delete from rollup_histograms where bucket >= since and bucket < until;
    insert into rollups select * from rollups_of(since, until);
    insert into rollup_histograms select * from histograms_of(since, until);
end
$$;
