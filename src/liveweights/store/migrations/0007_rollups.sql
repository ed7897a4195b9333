-- Generations and feedback in daily partitions, and what they add up to.
--
-- The day of a generation is read from its id (a version 7 UUID begins with the time), so the id
-- alone leads to the partition. Ids without a time (or beyond the year 2527) have the day
-- 1970-01-01. Feedback is kept with
-- the generation that it is about, however late it comes.

create function generation_day(id text) returns date
language sql immutable parallel safe as $$
    select case when id ~ '_0[0-9a-f]{11}7[0-9a-f]{19}$'
        then date '1970-01-01'
            + (('x0000' || substr(right(id, 32), 1, 12))::bit(64)::bigint / 86400000)::int
        else date '1970-01-01' end
$$;

alter table cycle_rows drop constraint cycle_rows_generation_fkey;
alter table cycle_rows drop constraint cycle_rows_feedback_fkey;
alter table cycle_rows
    add column day date not null generated always as (generation_day(generation)) stored;

alter table generations rename to old_generations;
alter table feedback rename to old_feedback;
alter table old_feedback drop constraint feedback_generation_fkey;
alter index generations_pkey rename to old_generations_pkey;
alter index feedback_pkey rename to old_feedback_pkey;
drop index generations_by_alias, generations_by_user, generations_by_chat, feedback_by_generation;

create table generations (
    id              text not null,
    created_at      timestamptz not null,
    alias           text not null,
    checkpoint      text not null,
    endpoint        text not null,
    prompt_ids      integer[] not null,
    output_ids      integer[] not null,
    logprobs        real[] not null,
    raw_logprobs    real[] not null,
    output          text not null,
    finish_reason   text not null,
    temperature     real not null,
    top_p           real not null,
    seed            bigint,
    max_tokens      integer not null,
    tenant          text not null,
    user_id         text,
    session         text,
    surface         text not null,
    language        text not null,
    consent         boolean not null,
    healed          text not null,
    first_token_ms  real not null,
    total_ms        real not null,
    metadata        jsonb not null,
    prompt          text not null default '',
    usage           jsonb not null default '{}',
    day             date not null default '1970-01-01' check (day = generation_day(id)),
    cost_nanos      bigint not null default 0,  -- billionths of the prices' currency
    primary key (day, id)
) partition by range (day);
create index generations_by_alias on generations (alias, created_at);
create index generations_by_user on generations (tenant, user_id) where user_id is not null;
create index generations_silent on generations (alias, created_at)
    where output = '' and finish_reason not in ('cancelled', 'error');
create index generations_by_chat on generations (tenant, session, created_at)
    where endpoint = 'chat' and session is not null;
create index generations_by_time on generations using brin (created_at)
    with (pages_per_range = 32);
-- Without these, grouping by time is taken to give one group per row, and sorts instead of hashes.
create statistics generations_5m on date_bin('5 minutes', created_at, 'epoch'::timestamptz)
    from generations;
create statistics generations_1h on date_bin('1 hour', created_at, 'epoch'::timestamptz)
    from generations;
create statistics generations_1d on date_bin('1 day', created_at, 'epoch'::timestamptz)
    from generations;

-- What is counted together: every combination that has answered, and for each alias and checkpoint
-- the whole over all tenants and surfaces (`tenant` and `surface` are null there).
create table series (
    id          integer generated always as identity primary key,
    alias       text not null,
    checkpoint  text not null,
    tenant      text,
    surface     text,
    whole_id    integer references series,
    unique nulls not distinct (alias, checkpoint, tenant, surface),
    check ((tenant is null) = (surface is null) and (tenant is null) = (whole_id is null))
);

-- As the upstream counted them, where an answer passed through the gateway; else our own ids.
create function prompt_tokens(g generations) returns bigint
language sql immutable parallel safe as $$
    select coalesce((g.usage ->> 'prompt_tokens')::bigint, cardinality(g.prompt_ids))
$$;
create function output_tokens(g generations) returns bigint
language sql immutable parallel safe as $$
    select coalesce((g.usage ->> 'completion_tokens')::bigint, cardinality(g.output_ids))
$$;

create sequence feedback_seq;
-- `generated_at`, `series`, `user_id` and `silent` (the model said nothing) are the generation's, so
-- that counting needs no join. `survived` is, for `edited`, the share of the answer's characters
-- that the user kept.
create table feedback (
    seq          bigint not null default nextval('feedback_seq'),
    tenant       text not null,
    id           text not null,
    generation   text not null,
    signal       text not null,
    value        double precision,
    text         text,
    received_at  timestamptz not null,
    day          date not null default '1970-01-01' check (day = generation_day(generation)),
    generated_at timestamptz,
    series       integer,
    user_id      text,
    silent       boolean,
    survived     double precision,
    primary key (day, generation, seq)
) partition by range (day);
create index feedback_by_arrival on feedback using brin (seq, received_at)
    with (pages_per_range = 32);

-- Every feedback in order of arrival: what makes a repeated id harmless, whichever day it is of.
create table feedback_keys (
    tenant       text not null,
    id           text not null,
    seq          bigint not null,
    generation   text not null,
    received_at  timestamptz not null,
    day          date not null,
    primary key (tenant, id)
);
create index feedback_keys_by_arrival on feedback_keys using brin (seq, received_at, day)
    with (pages_per_range = 32);

-- Partitions for every day from `first` to `last`; returns how many were missing. Made apart and
-- attached, so that nobody who reads or writes has to wait.
create function ensure_partitions(first date, last date) returns integer
language plpgsql as $$
declare
    one date;
    parent text;
    child text;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(7301120002);
    for one in select first + n from generate_series(0, last - first) n loop
        foreach parent in array array['generations', 'feedback'] loop
            child := parent || '_' || to_char(one, 'YYYYMMDD');
            if to_regclass(child) is null then
                execute format('create table %I (like %I including all)', child, parent);
                execute format(
                    'alter table %I attach partition %I for values from (%L) to (%L)',
                    parent, child, one, one + 1
                );
                made := made + 1;
            end if;
        end loop;
    end loop;
    return made;
end
$$;

create table generations_undated partition of generations
    for values from ('1970-01-01') to ('1970-01-02');
create table feedback_undated partition of feedback
    for values from ('1970-01-01') to ('1970-01-02');

select ensure_partitions(day, day)
from (select distinct generation_day(id) as day from old_generations) days
where day <> '1970-01-01';
insert into generations select *, generation_day(id), 0 from old_generations;
insert into series (alias, checkpoint) select distinct alias, checkpoint from generations;
insert into series (alias, checkpoint, tenant, surface, whole_id)
    select distinct g.alias, g.checkpoint, g.tenant, g.surface, whole.id
    from generations g join series whole using (alias, checkpoint);
insert into feedback
    select f.*, g.day, g.created_at, s.id, g.user_id,
        g.output = '' and g.finish_reason not in ('cancelled', 'error'), null
    from old_feedback f join generations g on g.id = f.generation
    join series s on (s.alias, s.checkpoint, s.tenant, s.surface)
        = (g.alias, g.checkpoint, g.tenant, g.surface);
insert into feedback_keys
    select tenant, id, seq, generation, received_at, day from feedback order by seq;
select setval('feedback_seq', (select coalesce(max(seq), 0) + 1 from feedback), false);
drop table old_feedback;
drop table old_generations;

-- Sums per bucket of `width` minutes (5, 60, 1440), by the time of the generation. The writer adds
-- to them in the transaction that writes the rows. `whole` marks the sums over all tenants and
-- surfaces, which most questions are about: they are few, and lie together.
create table rollups (
    whole          boolean not null,
    width          smallint not null,
    bucket         timestamptz not null,
    series         integer not null references series,
    generations    bigint not null default 0,
    silent         bigint not null default 0,  -- the model said nothing
    cancelled      bigint not null default 0,  -- the client went away
    failed         bigint not null default 0,  -- the engine did
    prompt_tokens  bigint not null default 0,
    output_tokens  bigint not null default 0,
    cost_nanos     bigint not null default 0,
    feedback       bigint not null default 0,  -- rows of it
    reacted        bigint not null default 0,  -- generations that feedback gives a reward
    silent_reacted bigint not null default 0,
    accepted       bigint not null default 0,  -- by the last click
    rejected       bigint not null default 0,
    -- The reward, free of what the reward map says: the sum of explicit values, and the weights
    -- of `accepted` and `rejected`; each in millionths.
    value_micros     bigint not null default 0,
    accepted_micros  bigint not null default 0,
    rejected_micros  bigint not null default 0,
    primary key (whole, width, bucket, series)
) with (fillfactor = 70);

create type measure as enum ('first_token', 'total', 'delay');

-- Counts per bin: bin b holds [2^(b/4), 2^((b+1)/4)) milliseconds; the first and last are open.
-- `delay` is from generation to feedback.
create table rollup_histograms (
    whole    boolean not null,
    width    smallint not null,
    bucket   timestamptz not null,
    series   integer not null references series,
    measure  measure not null,
    bin      smallint not null,
    count    bigint not null,
    primary key (whole, width, bucket, series, measure, bin)
) with (fillfactor = 70);

create function histogram_bin(ms double precision) returns smallint
language sql immutable parallel safe as $$
    select least(127, floor(ln(greatest(ms, 1)) * 5.770780163555854))::smallint
$$;

-- What the feedback for a generation amounts to. The signal of the highest precedence decides, and
-- among equals the last; a lone correction counts as rejected, unless there was nothing to correct.
create type decider as (signal text, value double precision, survived double precision);
create view outcomes as
select day, generation, generated_at, series, user_id, silent, feedback,
    coalesce(click = 'accepted', false) as accepted,
    coalesce(click = 'rejected', false) as rejected,
    decided_by,
    case when decided_by in ('reward', 'thumbs')
        then round(1e6 * least(1, greatest(-1, coalesce(value, 0))))::bigint
        else 0 end as value_micros,
    case decided_by when 'accepted' then 1000000 when 'edited' then kept_micros else 0 end
        as accepted_micros,
    case when decided_by in ('rejected', 'correction') then 1000000
        when decided_by = 'edited' then 1000000 - kept_micros else 0 end as rejected_micros
from (
    select *, (decider).value,
        round(1e6 * coalesce((decider).survived, 0))::bigint as kept_micros,
        coalesce((decider).signal, case when corrected and not silent then 'correction' end)
            as decided_by
    from (
        select day, generation, min(generated_at) as generated_at, min(series) as series,
            min(user_id) as user_id, bool_or(silent) as silent, count(*) as feedback,
            bool_or(signal = 'correction') as corrected,
            (array_agg(signal order by seq desc)
                filter (where signal in ('accepted', 'rejected')))[1] as click,
            (array_agg((signal, value, survived)::decider order by
                case signal when 'reward' then 1 when 'thumbs' then 2 when 'edited' then 3
                    else 4 end,
                seq desc
            ) filter (where signal in ('reward', 'thumbs', 'edited', 'accepted', 'rejected')))[1]
                as decider
        from feedback
        group by day, generation
    ) grouped
) decided;

-- The rollups as the raw rows of a time say they should be. Both ends fall on a UTC midnight.
create function rollups_of(since timestamptz, until timestamptz) returns setof rollups
language sql stable as $$
    with fine as (
        select date_bin('5 minutes', g.created_at, 'epoch') as at, s.id as series,
            count(*) as generations,
            count(*) filter (
                where output = '' and finish_reason not in ('cancelled', 'error')
            ) as silent,
            count(*) filter (where finish_reason = 'cancelled') as cancelled,
            count(*) filter (where finish_reason = 'error') as failed,
            sum(prompt_tokens(g)) as prompt_tokens, sum(output_tokens(g)) as output_tokens,
            sum(cost_nanos) as cost_nanos,
            0 as feedback, 0 as reacted, 0 as silent_reacted, 0 as accepted, 0 as rejected,
            0 as value_micros, 0 as accepted_micros, 0 as rejected_micros
        from generations g join series s using (alias, checkpoint, tenant, surface)
        where g.created_at >= since and g.created_at < until
        group by 1, 2
        union all
        select date_bin('5 minutes', generated_at, 'epoch'), series, 0, 0, 0, 0, 0, 0, 0,
            sum(feedback), count(decided_by), count(decided_by) filter (where silent),
            count(*) filter (where accepted), count(*) filter (where rejected),
            sum(value_micros), sum(accepted_micros), sum(rejected_micros)
        from outcomes where generated_at >= since and generated_at < until
            and (day = '1970-01-01' or day >= (since at time zone 'UTC')::date - 1)
        group by 1, 2
    )
    select whole, width::smallint, date_bin(make_interval(mins => width), at, 'epoch'),
        case when whole then whole_id else series.id end,
        sum(generations)::bigint, sum(silent)::bigint, sum(cancelled)::bigint,
        sum(failed)::bigint,
        sum(prompt_tokens)::bigint, sum(output_tokens)::bigint, sum(cost_nanos)::bigint,
        sum(feedback)::bigint, sum(reacted)::bigint, sum(silent_reacted)::bigint,
        sum(accepted)::bigint, sum(rejected)::bigint,
        sum(value_micros)::bigint, sum(accepted_micros)::bigint, sum(rejected_micros)::bigint
    from fine join series on series.id = fine.series
    cross join (values (5), (60), (1440)) widths (width)
    cross join (values (false), (true)) kinds (whole)
    group by 1, 2, 3, 4
$$;

create function histograms_of(since timestamptz, until timestamptz)
returns setof rollup_histograms
language sql stable as $$
    with fine as (
        select date_bin('5 minutes', g.created_at, 'epoch') as at, s.id as series, m.measure,
            histogram_bin(m.ms) as bin, count(*) as count
        from generations g join series s using (alias, checkpoint, tenant, surface)
        cross join lateral (values
            ('first_token'::measure, g.first_token_ms), ('total'::measure, g.total_ms)
        ) m (measure, ms)
        where g.created_at >= since and g.created_at < until
        group by 1, 2, 3, 4
        union all
        select date_bin('5 minutes', generated_at, 'epoch'), series, 'delay'::measure,
            histogram_bin(1000 * extract(epoch from received_at - generated_at)::float8), count(*)
        from feedback where generated_at >= since and generated_at < until
        group by 1, 2, 3, 4
    )
    select whole, width::smallint, date_bin(make_interval(mins => width), at, 'epoch'),
        case when whole then whole_id else series.id end, measure, bin, sum(count)::bigint
    from fine join series on series.id = fine.series
    cross join (values (5), (60), (1440)) widths (width)
    cross join (values (false), (true)) kinds (whole)
    group by 1, 2, 3, 4, 5, 6
$$;

-- Writers wait meanwhile. The other statements see all that was committed before the lock.
create procedure rebuild_rollups(since timestamptz, until timestamptz)
language plpgsql as $$
begin
    lock table rollups, rollup_histograms in share row exclusive mode;
    delete from rollups where bucket >= since and bucket < until;
    delete from rollup_histograms where bucket >= since and bucket < until;
    insert into rollups select * from rollups_of(since, until);
    insert into rollup_histograms select * from histograms_of(since, until);
end
$$;

call rebuild_rollups('-infinity', 'infinity');
