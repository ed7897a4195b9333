-- How busy every instance of the API was, a sample every few seconds, in daily partitions.
create table engine_metrics (
    at        timestamptz not null,
    instance  text not null,
    slots     integer not null,  -- answers that may be computed at a time
    running   integer not null,  -- that were
    waiting   integer not null,  -- requests in the queue
    -- Checkpoints that could answer, and how many requests held each.
    resident  text[] not null,
    in_use    integer[] not null
) partition by range (at);
create index engine_metrics_by_time on engine_metrics using brin (at) with (pages_per_range = 32);

-- As before, and for engine_metrics too, whose days are of the sample's own time.
create or replace function ensure_partitions(first date, last date) returns integer
language plpgsql as $$
declare
    one date;
    parent text;
    child text;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(7301120002);
    for one in select first + n from generate_series(0, last - first) n loop
        foreach parent in array array['generations', 'feedback', 'engine_metrics'] loop
            child := parent || '_' || to_char(one, 'YYYYMMDD');
            if to_regclass(child) is null then
                execute format('create table %I (like %I including all)', child, parent);
                if parent = 'engine_metrics' then
                    execute format(
                        'alter table %I attach partition %I for values from (%L) to (%L)',
                        parent, child, one::timestamp at time zone 'UTC',
                        (one + 1)::timestamp at time zone 'UTC'
                    );
                else
                    execute format(
                        'alter table %I attach partition %I for values from (%L) to (%L)',
                        parent, child, one, one + 1
                    );
                end if;
                made := made + 1;
            end if;
        end loop;
    end loop;
    return made;
end
$$;

create view load as
select at, instance, slots, running, waiting, held.checkpoint, held.in_use
from engine_metrics cross join lateral unnest(resident, in_use) held (checkpoint, in_use);
comment on view load is
'How busy the API was: one row per sample, instance and resident checkpoint. running of slots answers were being computed and waiting requests queued, on the whole instance; in_use requests held the checkpoint.';
