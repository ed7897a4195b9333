-- Where timescaledb's full edition is there and no answer has been recorded yet, generations become
-- a hypertable: one chunk per day, which becomes columnstore when the day is over.
-- Everywhere else they stay in daily partitions. Later migrations that alter `generations` work on
-- both, if they add and drop columns and indexes only: timescaledb refuses, for one, `set storage`.

-- As before, for those of the tables that have partitions.
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
        for parent in
            select name from unnest(array['generations', 'feedback', 'engine_metrics']) name
            join pg_class on pg_class.oid = name::regclass where relkind = 'p'
        loop
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

do $$
declare
    version text := (select extversion from pg_extension where extname = 'timescaledb');
begin
    -- convert_to_columnstore came with 2.18.
    if version is null or current_setting('timescaledb.license', true) is distinct from 'timescale'
        or (regexp_match(version, '^(\d+)\.(\d+)'))::int[] < array[2, 18]
        or not exists (
            select from pg_proc where proname = 'create_hypertable' and pg_function_is_visible(oid)
        )
    then
        return;
    end if;
    lock table generations in access exclusive mode;
    if exists (select from generations) then
        return;
    end if;

    drop view answers;
    drop function prompt_tokens(generations);
    drop function output_tokens(generations);
    create table hypertable (
        like generations including all excluding indexes excluding statistics
    );
    drop table generations;
    alter table hypertable rename to generations;

    perform create_hypertable(
        'generations', by_range('day', interval '1 day'), create_default_indexes => false
    );
    alter table generations add primary key (day, id);
    create index generations_by_alias on generations (alias, created_at);
    create index generations_by_user on generations (tenant, user_id) where user_id is not null;
    create index generations_silent on generations (alias, created_at)
        where output = '' and finish_reason not in ('cancelled', 'error');
    create index generations_by_chat on generations (tenant, session, created_at)
        where endpoint = 'chat' and session is not null;
    create index generations_by_time on generations using brin (created_at)
        with (pages_per_range = 32);
    create statistics generations_5m on date_bin('5 minutes', created_at, 'epoch'::timestamptz)
        from generations;
    create statistics generations_1h on date_bin('1 hour', created_at, 'epoch'::timestamptz)
        from generations;
    create statistics generations_1d on date_bin('1 day', created_at, 'epoch'::timestamptz)
        from generations;
    -- An id begins with the time: in its order, the smallest and largest id and time of every
    -- thousand rows lead a lookup by either to those that may hold it.
    alter table generations set (
        timescaledb.enable_columnstore,
        timescaledb.segmentby = 'alias',
        timescaledb.orderby = 'id, created_at, day'
    );

    create function prompt_tokens(g generations) returns bigint
    language sql immutable parallel safe as $f$
        select coalesce((g.usage ->> 'prompt_tokens')::bigint, cardinality(g.prompt_ids))
    $f$;
    create function output_tokens(g generations) returns bigint
    language sql immutable parallel safe as $f$
        select coalesce((g.usage ->> 'completion_tokens')::bigint, cardinality(g.output_ids))
    $f$;
    create view answers as
    select g.day, g.id, g.created_at, g.alias, g.checkpoint, g.endpoint, g.tenant, g.user_id,
        g.session, g.surface, g.language, g.consent, g.output, g.finish_reason,
        prompt_tokens(g) as prompt_tokens, output_tokens(g) as output_tokens,
        g.cost_nanos::float8 / 1e9 as cost, g.first_token_ms, g.total_ms,
        coalesce(o.feedback, 0) as feedback, o.accepted, o.rejected, o.decided_by
    from generations g
    left join outcomes o on o.day = g.day and o.generation = g.id;
    comment on view answers is
    'One row per answer with what its feedback amounts to. Give a range of day: only those days are read.';
end
$$;
