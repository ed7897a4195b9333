-- What keeps upkeep short.

-- Nothing is looked for by the tokens of an answer: to gather statistics of them means to read
-- them whole. What is set here goes to the partitions or chunks that there are.
alter table generations
    alter column prompt_ids set statistics 0,
    alter column output_ids set statistics 0,
    alter column logprobs set statistics 0,
    alter column raw_logprobs set statistics 0;

-- As before, and new partitions are like the whole in this, too.
create or replace function ensure_partitions(first date, last date) returns integer
language plpgsql as $$
declare
    one date;
    parent text;
    child text;
    name text;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(7301120002);
    for one in select first + n from generate_series(0, last - first) n loop
        for parent in
            select tables.name from unnest(array['generations', 'feedback', 'engine_metrics'])
                tables (name)
            join pg_class on pg_class.oid = tables.name::regclass where relkind = 'p'
        loop
            child := parent || '_' || to_char(one, 'YYYYMMDD');
            if to_regclass(child) is null then
                execute format('create table %I (like %I including all)', child, parent);
                for name in
                    select attname from pg_attribute
                    where attrelid = parent::regclass and attnum > 0 and not attisdropped
                        and attstattarget = 0
                loop
                    execute format('alter table %I alter column %I set statistics 0', child, name);
                end loop;
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

-- What went on from an answer, and what is old.
create index responses_by_previous on responses (previous) where previous is not null;
create index responses_by_age on responses (created_at);
create index conversations_by_age on conversations (created_at);

-- As before, with days of UTC, whatever the time zone of the session is.
create or replace procedure rebuild_rollups(since timestamptz, until timestamptz)
language plpgsql as $$
declare
    gone date;
begin
    lock table rollups, rollup_histograms in share row exclusive mode;
    select max(day) into gone from archives
    where restored_at is null and day >= (since at time zone 'UTC')::date
        and day < (until at time zone 'UTC')::date;
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
